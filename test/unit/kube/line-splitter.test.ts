import { describe, expect, test } from "bun:test";
import { createLineSplitter } from "../../../src/kube/line-splitter.ts";
import { createRandom } from "../../../scripts/lib/stage/random.ts";

const encode = (text: string) => new TextEncoder().encode(text);

describe("createLineSplitter", () => {
  test("gives the lines of a chunk and keeps what has not ended", () => {
    const lines = createLineSplitter(100);
    expect([...lines.push(encode("a\nb\n\nc"))]).toEqual(["a", "b"]);
    expect(lines.pendingBytes()).toBe(1);
    expect([...lines.push(encode("d\n"))]).toEqual(["cd"]);
    expect(lines.pendingBytes()).toBe(0);
  });

  test("gives the same lines wherever the chunks end", () => {
    const random = createRandom(11);
    for (let round = 0; round < 300; round++) {
      const wanted = Array.from({ length: random.integer(8) }, () => "aä€😀 ".repeat(1 + random.integer(30)));
      const bytes = encode(wanted.map((line) => `${line}\n`).join(""));
      const lines = createLineSplitter(10_000);
      const found: string[] = [];
      for (let at = 0; at < bytes.length;) {
        const length = random.integer(20);
        // One buffer for all chunks, as a stream may have it.
        const chunk = bytes.slice(at, at + length);
        found.push(...lines.push(chunk));
        chunk.fill(0x21);
        at += length;
      }
      expect(found).toEqual(wanted);
    }
  });

  test("refuses a line that is too long before it has ended", () => {
    const lines = createLineSplitter(10);
    expect([...lines.push(encode("1234567890\n"))]).toEqual(["1234567890"]);
    expect(() => [...lines.push(encode("12345678901"))]).toThrow(RangeError);
  });

  test("refuses a line of several chunks that is too long", () => {
    const lines = createLineSplitter(10);
    expect([...lines.push(encode("12345678"))]).toEqual([]);
    expect(() => [...lines.push(encode("901\n"))]).toThrow(RangeError);
  });

  test("refuses bytes that are not UTF-8", () => {
    expect(() => [...createLineSplitter(10).push(new Uint8Array([0xc3, 0x0a]))]).toThrow(TypeError);
  });
});
