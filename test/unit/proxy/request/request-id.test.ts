import { expect, test } from "bun:test";

import { createRequestIds } from "../../../../src/proxy/request/request-id.ts";

test.each(["1", "0af7651916cd43dd8448eb211c80319c", "!~", "a".repeat(128), 'x,y;z="{}'])(
  "createRequestIds keeps the client's id %s",
  (id) => {
    expect(createRequestIds("i")(id)).toBe(id);
  },
);

test.each([null, undefined, "", "a b", "a\tb", "\u00e9", "\u007f", "a".repeat(129), "a, b", "a\n"])(
  "createRequestIds makes an id instead of %j",
  (id) => {
    expect(createRequestIds("i")(id)).toBe("i-1");
  },
);

test("createRequestIds makes each id once, and others in another instance", () => {
  const instances = [createRequestIds("a"), createRequestIds("b")];
  const ids = instances.flatMap((take) => Array.from({ length: 100 }, () => take(null)));
  expect(new Set(ids).size).toBe(200);
});
