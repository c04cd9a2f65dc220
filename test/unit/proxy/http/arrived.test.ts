import { describe, expect, test } from "bun:test";
import { isWhole } from "../../../../src/proxy/http/arrived.ts";
import { startRawUpstream } from "../../../support/raw-upstream.ts";

const LENGTH = 4096;
const BODY = "x".repeat(LENGTH);

interface Sent {
  readonly reason?: string;
  readonly path?: string;
  /** Bytes of the body that arrive with the head. The rest arrives after the test has checked. */
  readonly bytes: number;
}

/** What `isWhole` says about an answer of `LENGTH` bytes, and what its body then is. */
async function look({ reason = "OK", path = "/", bytes }: Sent): Promise<{ whole: boolean; body: string }> {
  const looked = Promise.withResolvers<void>();
  await using upstream = await startRawUpstream((socket) => {
    const head = `HTTP/1.1 200 ${reason}\r\nContent-Type: t/x\r\nContent-Length: ${LENGTH}\r\n\r\n`;
    socket.write(Buffer.from(head + BODY.slice(0, bytes), "latin1"));
    void looked.promise.then(() => socket.write(BODY.slice(bytes)));
  });
  const answer = await fetch(`http://127.0.0.1:${upstream.port}${path}`, { redirect: "manual", decompress: false });
  const whole = isWhole(answer, LENGTH);
  looked.resolve();
  return { whole, body: await answer.text() };
}

describe("isWhole", () => {
  test.each([
    ["a plain one", {}],
    ["one with a long path", { path: `/${"a".repeat(2 * LENGTH)}` }],
    ["one with a path that is escaped", { path: `/${"é".repeat(LENGTH)}` }],
    ["one without a reason", { reason: "" }],
    ["one with a long reason", { reason: "r".repeat(2 * LENGTH) }],
  ])("isWhole distinguishes a body that came with its head from one that is still arriving: %s", async (_, sent) => {
    expect(await look({ ...sent, bytes: LENGTH })).toEqual({ whole: true, body: BODY });
    for (const bytes of [0, 1, LENGTH - 1]) {
      expect([bytes, await look({ ...sent, bytes })]).toEqual([bytes, { whole: false, body: BODY }]);
    }
  });

  test("isWhole is not fooled by a reason phrase that looks like a body", async () => {
    for (const reason of ["é".repeat(LENGTH), "\xff".repeat(2 * LENGTH)]) {
      expect(await look({ reason, bytes: 0 })).toEqual({ whole: false, body: BODY });
    }
  });
});
