import { describe, expect, test } from "bun:test";
import { IngressError } from "../../../../src/errors.ts";
import { parseHost, parseRequestTarget } from "../../../../src/proxy/request/target.ts";

function codeOf(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    if (error instanceof IngressError) return error.code;
    throw error;
  }
  return "no error";
}

describe("parseRequestTarget", () => {
  test.each([
    ["http://a.test/x/y?z=1", "/x/y", "?z=1"],
    ["http://a.test:28888/", "/", ""],
    ["http://[::1]:1/x?", "/x", "?"],
    ["/x?a?b", "/x", "?a?b"],
    ["http://a//x", "//x", ""],
  ])("parseRequestTarget splits %s", (url, path, query) => {
    expect(parseRequestTarget(url)).toEqual({ path, query });
  });

  test("parseRequestTarget refuses a fragment, in the path and in the query", () => {
    expect(codeOf(() => parseRequestTarget("http://a/x#y"))).toBe("request_invalid");
    expect(codeOf(() => parseRequestTarget("http://a/x?y#z"))).toBe("request_invalid");
  });
});

describe("parseHost", () => {
  test.each(["a", "a.test", "A-b_c~1.test:28888", "[::1]", "[fd00::1]:80", "10.0.0.1:1", "a:"])(
    "parseHost accepts %s",
    (host) => expect(parseHost(host)).toBe(host),
  );

  test("parseHost treats an empty Host like a missing one", () => {
    expect(parseHost(undefined)).toBe("");
    expect(parseHost("")).toBe("");
  });

  test.each([
    "a, b",
    "u@evil",
    "a/b",
    "a?b",
    "a:b",
    "a:1:2",
    ":80",
    "[::1",
    "[x]",
    "[::1]x",
    "a b",
    "a%2e",
    "a:123456",
    "é",
  ])("parseHost refuses %j", (host) => expect(codeOf(() => parseHost(host))).toBe("host_invalid"));
});
