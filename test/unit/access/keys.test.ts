import { describe, expect, test } from "bun:test";
import { AccessKeys, parseAccessKeys, parseAccessKeysFile, SECRET_MAX_BYTES } from "../../../src/access/keys.ts";
import { createRandom } from "../../../scripts/lib/stage/random.ts";

const SEED = 7;

function messageOf(run: () => unknown): string {
  try {
    run();
  } catch (thrown) {
    return thrown instanceof Error ? thrown.message : String(thrown);
  }
  return "nothing was thrown";
}

describe("parseAccessKeys", () => {
  test("parseAccessKeys reads ids and secrets", () => {
    const keys = parseAccessKeys("a=AQID,z=dGVzdA==, 0=aw== ");
    expect(keys.ids).toEqual(["a", "z", "0"]);
    expect(keys.secretOf("a")).toEqual(new Uint8Array([1, 2, 3]));
    expect(keys.secretOf("z")).toEqual(new TextEncoder().encode("test"));
    expect(keys.secretOf("0")).toEqual(new TextEncoder().encode("k"));
    expect(keys.secretOf("b")).toBeUndefined();
  });

  test.each([
    ["", "entry 1 is empty"],
    ["a=AQID,", "entry 2 is empty"],
    ["a=AQID,,b=AQID", "entry 2 is empty"],
    ["U0VDUkVU", "entry 1 is missing its key id"],
    ["=U0VDUkVU", "entry 1 has an invalid key id"],
    ["U0VDUkVUUw==", "entry 1 has an invalid key id"],
    ["aa=U0VDUkVU", "entry 1 has an invalid key id"],
    ["A=U0VDUkVU", "entry 1 has an invalid key id"],
    ["_=U0VDUkVU", "entry 1 has an invalid key id"],
    ["é=U0VDUkVU", "entry 1 has an invalid key id"],
    ["a=", 'entry 1 (key id "a") has an empty secret'],
    ["a=AQID,b=", 'entry 2 (key id "b") has an empty secret'],
    ["a=====", 'entry 1 (key id "a") is not valid padded base64'],
    ["a=aw=", 'entry 1 (key id "a") is not valid padded base64'],
    ["a=aw", 'entry 1 (key id "a") is not valid padded base64'],
    ["a=ax==", 'entry 1 (key id "a") is not valid padded base64'],
    ["a=U0VDUkVU!", 'entry 1 (key id "a") is not valid padded base64'],
    ["a=U0VD UkVU", 'entry 1 (key id "a") is not valid padded base64'],
    ["a=_-8=", 'entry 1 (key id "a") is not valid padded base64'],
    ["a=AQID,a=AQID", 'entry 2 repeats key id "a"'],
    ["a=AQID,b=AQID,a=U0VDUkVU", 'entry 3 repeats key id "a"'],
    ["$(KEYS)", "entry 1 contains a reference to a variable that is not set"],
    ["a=AQID,b=$(SECRET_KEY)", "entry 2 contains a reference to a variable that is not set"],
  ])("parseAccessKeys refuses %p", (text, message) => {
    expect(messageOf(() => parseAccessKeys(text))).toStartWith(`Cannot parse access keys: ${message}`);
  });

  test("parseAccessKeys accepts a secret up to the limit, but not above it", () => {
    const longest = Buffer.alloc(SECRET_MAX_BYTES, 1).toString("base64");
    expect(parseAccessKeys(`a=${longest}`).secretOf("a")).toHaveLength(SECRET_MAX_BYTES);
    const longer = Buffer.alloc(SECRET_MAX_BYTES + 1, 1).toString("base64");
    expect(messageOf(() => parseAccessKeys(`a=${longer}`))).toContain("is longer than 1024 bytes");
  });

  test(`parseAccessKeys returns keys or an Error without any of the text (seed ${SEED})`, () => {
    const random = createRandom(SEED);
    const pieces: readonly [string, ...string[]] = ["=", ",", "a=", "b=", "$(", ")", "==", " ", "\n", "#", "U0VDUkVU"];
    let parsed = 0;
    for (let round = 0; round < 5_000; round++) {
      let text = random.integer(2) === 0 ? "a=" : "";
      for (let left = random.integer(6); left > 0; left--) text += random.pick(pieces);
      for (const parse of [parseAccessKeys, parseAccessKeysFile]) {
        try {
          expect(parse(text)).toBeInstanceOf(AccessKeys);
          parsed++;
        } catch (thrown) {
          if (!(thrown instanceof Error)) throw thrown;
          expect(thrown.message).toStartWith("Cannot parse access keys: ");
          expect(thrown.message).not.toContain("U0VD");
        }
      }
    }
    expect(parsed).toBeGreaterThan(100);
  });

  test("AccessKeys shows no secret to what prints or serializes it", () => {
    const keys = parseAccessKeys("a=U0VDUkVU");
    const secretForms = /SECRET|U0VDUkVU|83,\s*69|534543/;
    for (const text of [Bun.inspect(keys, { depth: 9 }), JSON.stringify(keys)]) {
      expect(text).not.toMatch(secretForms);
    }
  });

  test("AccessKeys refuses to be empty", () => {
    expect(() => new AccessKeys(new Map())).toThrow("the list is empty");
  });
});

describe("parseAccessKeysFile", () => {
  test.each([
    ["a=AQID,b=aw=="],
    ["a=AQID,b=aw==\n"],
    ["a=AQID\nb=aw==\n"],
    ["# rotated monthly\n\n  a=AQID  \r\n\t\n# the old one\nb=aw==\r\n"],
  ])("parseAccessKeysFile reads %p", (text) => {
    const keys = parseAccessKeysFile(text);
    expect(keys.ids).toEqual(["a", "b"]);
    expect(keys.secretOf("a")).toEqual(new Uint8Array([1, 2, 3]));
    expect(keys.secretOf("b")).toEqual(new TextEncoder().encode("k"));
  });

  test.each([
    ["", "the file has no key"],
    ["\n# a=AQID\n", "the file has no key"],
    ["\n\na=AQ_D\n", 'line 3 (key id "a") is not valid padded base64'],
    ["a=AQID\na=AQID", 'line 2 repeats key id "a"'],
    ["a=AQID,b=aw==\nb=aw==", 'line 2 repeats key id "b"'],
    ["a=AQID # comment", 'line 1 (key id "a") is not valid padded base64'],
    ["U0VDUkVU", "line 1 is missing its key id"],
    ["a=$(X)", "line 1 contains a reference to a variable that is not set"],
  ])("parseAccessKeysFile refuses %p", (text, message) => {
    expect(messageOf(() => parseAccessKeysFile(text))).toStartWith(`Cannot parse access keys: ${message}`);
  });
});
