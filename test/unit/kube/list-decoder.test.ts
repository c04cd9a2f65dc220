import { describe, expect, test } from "bun:test";
import { ListDecoder } from "../../../src/kube/list-decoder.ts";
import { createRandom } from "../../../scripts/lib/stage/random.ts";

const encode = (text: string) => new TextEncoder().encode(text);

/** The list as it comes out again, its bytes cut where `lengths` says. */
function decodeList(bytes: Uint8Array, nextLength: () => number, objectMaxBytes = 100_000) {
  const decoder = new ListDecoder(objectMaxBytes);
  const items: unknown[] = [];
  for (let at = 0; at < bytes.length;) {
    const length = nextLength();
    // One buffer for all chunks, as a stream may have it.
    const chunk = bytes.slice(at, at + length);
    items.push(...decoder.push(chunk));
    chunk.fill(0x21);
    at += length;
  }
  return { items, envelope: decoder.finish() };
}

const whole = (text: string, objectMaxBytes?: number) =>
  decodeList(encode(text), () => text.length * 4, objectMaxBytes);

describe("ListDecoder", () => {
  test("gives the objects and the envelope of any list, wherever the chunks end", () => {
    const random = createRandom(21);
    const text = () => 'a"\\{}[],:\n\u0000é€😀 items'.repeat(random.integer(3)).slice(random.integer(9));
    const value = (depth: number): unknown => {
      const kind = random.integer(depth > 3 ? 4 : 6);
      if (kind === 4) return Array.from({ length: random.integer(4) }, () => value(depth + 1));
      if (kind === 5)
        return Object.fromEntries([...Array(random.integer(4)).keys()].map((i) => [text() + i, value(depth + 1)]));
      return [null, true, random.integer(1000) / 7, text()][kind];
    };
    for (let round = 0; round < 400; round++) {
      const items = Array.from({ length: random.integer(6) }, () => ({ [text()]: value(0), items: value(1) }));
      const metadata = { resourceVersion: "7", continue: text(), items: [value(2)] };
      const before = { [`x${text()}`]: value(2), note: "items" };
      const list = random.integer(2) === 0 ? { ...before, items, metadata } : { metadata, ...before, items };
      const json = JSON.stringify(list, undefined, random.integer(3));
      const found = decodeList(encode(json), () => 1 + random.integer(30));
      expect(found.items).toEqual(items);
      expect(found.envelope).toEqual({ ...list, items: [] });
    }
  });

  test("gives each object as soon as it is complete", () => {
    const decoder = new ListDecoder(1000);
    expect([...decoder.push(encode('{"items":[{"a":1},{"b"'))]).toEqual([{ a: 1 }]);
    expect([...decoder.push(encode(":2}"))]).toEqual([{ b: 2 }]);
    expect([...decoder.push(encode("]}"))]).toEqual([]);
    expect(decoder.finish()).toEqual({ items: [] });
  });

  test("treats null items as an empty list, as Go writes it", () => {
    expect(whole('{"items":null,"metadata":{}}')).toEqual({ items: [], envelope: { items: null, metadata: {} } });
  });

  for (const text of [
    "",
    "<html>",
    '{"items":[',
    '{"items":[{"a":1}',
    '{"items":[{"a":1}]',
    '{"items":[{"a":1]]}',
    '{"items":[{"a":}]}',
    '{"items":["x"]}',
    '{"items":[1]}',
    '{"items":[[{}]]}',
    '{"items":[{}x{}]}',
    '{"items":[{}]}}',
    '{"items":[]}garbage',
    "}]}]",
  ]) {
    test(`refuses an answer that is not a list in JSON: ${text}`, () => {
      expect(() => whole(text)).toThrow(SyntaxError);
    });
  }

  test("refuses an object and an envelope that are too long, before they have ended", () => {
    expect(() => whole(`{"items":[{"a":"${"x".repeat(50)}`, 40)).toThrow("an object is longer than 40 bytes");
    expect(whole(`{"items":[{"a":"${"x".repeat(30)}"}]}`, 40).items).toHaveLength(1);
    expect(() => whole(`{"a":"${"x".repeat(2 ** 20)}`)).toThrow(
      "a list without its objects is longer than 1048576 bytes",
    );
  });

  test("refuses bytes that are not UTF-8", () => {
    const bytes = Buffer.concat([encode('{"items":[{"a":"'), Buffer.from([0xff]), encode('"}]}')]);
    expect(() => decodeList(bytes, () => 100)).toThrow(TypeError);
  });
});
