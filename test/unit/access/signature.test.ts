import { describe, expect, test } from "bun:test";
import { parseAccessKeys } from "../../../src/access/keys.ts";
import { createSecretDigester, isEqualDigest } from "../../../src/access/secret-digest.ts";
import { isExpired, signRoute, verifySignature } from "../../../src/access/signature.ts";
import { SIGNATURE_VECTORS, type SignatureVector } from "../../support/vectors.ts";

function targetOf(vector: SignatureVector) {
  const { sandboxId, port, expiresB36, signature } = vector;
  return { sandboxId, port, signature: { expiresB36, signature } };
}

/** Every text that differs from `text` in one character. */
function flipped(text: string): string[] {
  const alphabet = "0123456789abcdefghijklmnopqrstuvwxyz-AG_";
  return Array.from({ length: text.length }, (_, at) =>
    Array.from(alphabet, (char) => text.slice(0, at) + char + text.slice(at + 1)).filter((each) => each !== text),
  ).flat();
}

describe("the vectors of OSEP-0011", () => {
  test("there are six", () => {
    expect(SIGNATURE_VECTORS).toHaveLength(6);
  });

  test.each(SIGNATURE_VECTORS.map((vector) => [vector.signature, vector] as const))(
    "signRoute makes %s",
    (_, vector) => {
      const keys = parseAccessKeys(vector.key);
      const { sandboxId, port, expiresB36, signature } = vector;
      expect(BigInt(vector.expires).toString(36)).toBe(expiresB36);
      expect(signRoute(keys, vector.key.charAt(0), { sandboxId, port, expiresB36 })).toEqual({ expiresB36, signature });
      expect(verifySignature(keys, targetOf(vector))).toBe("valid");
    },
  );

  test("verifySignature refuses a vector when any one character is another", () => {
    for (const vector of SIGNATURE_VECTORS) {
      const keys = parseAccessKeys(vector.key);
      const changed = [
        ...flipped(vector.sandboxId).map((sandboxId) => ({ ...vector, sandboxId })),
        ...flipped(String(vector.port)).map((text) => ({ ...vector, port: Number(text) })),
        ...flipped(vector.expiresB36).map((expiresB36) => ({ ...vector, expiresB36 })),
        ...flipped(vector.signature).map((signature) => ({ ...vector, signature })),
      ];
      for (const each of changed) expect(verifySignature(keys, targetOf(each))).not.toBe("valid");
    }
  });

  test("verifySignature refuses a vector when any one byte of the secret is another", () => {
    for (const vector of SIGNATURE_VECTORS) {
      const id = vector.key.charAt(0);
      const secret = Buffer.from(vector.key.slice(2), "base64");
      for (let at = 0; at < secret.length; at++) {
        const other = Buffer.from(secret);
        other[at] = (other[at] ?? 0) ^ 1;
        const keys = parseAccessKeys(`${id}=${other.toString("base64")}`);
        expect(verifySignature(keys, targetOf(vector))).toBe("mismatch");
      }
    }
  });
});

describe("verifySignature", () => {
  const keys = parseAccessKeys("a=AQID,b=aw==");
  const fields = { sandboxId: "sb", port: 42, expiresB36: "0" };

  test("verifySignature uses each key only under its own id", () => {
    const byA = signRoute(keys, "a", fields);
    const byB = signRoute(keys, "b", fields);
    expect(verifySignature(keys, { ...fields, signature: byA })).toBe("valid");
    expect(verifySignature(keys, { ...fields, signature: byB })).toBe("valid");
    const crossed = { expiresB36: "0", signature: `${byA.signature.slice(0, 8)}b` };
    expect(verifySignature(keys, { ...fields, signature: crossed })).toBe("mismatch");
  });

  test("verifySignature knows no other key, for any digits", () => {
    const byA = signRoute(keys, "a", fields);
    const unknown = { expiresB36: "0", signature: `${byA.signature.slice(0, 8)}c` };
    expect(verifySignature(keys, { ...fields, signature: unknown })).toBe("unknown-key");
  });

  test.each([[""], ["8ccd73a1"], ["8ccd73a"], ["8ccd73a1aa"], ["8CCD73A1a"], ["8ccd73a1a "]])(
    "verifySignature refuses the malformed signature %p",
    (signature) => {
      expect(verifySignature(keys, { ...fields, signature: { expiresB36: "0", signature } })).not.toBe("valid");
    },
  );

  test("verifySignature binds id and port: moving a character between them is a mismatch", () => {
    const signature = signRoute(keys, "a", { sandboxId: "sb-4", port: 42, expiresB36: "0" });
    expect(verifySignature(keys, { sandboxId: "sb", port: 442, signature })).toBe("mismatch");
  });

  test("signRoute knows no other key", () => {
    expect(() => signRoute(keys, "c", fields)).toThrow('key "c" is missing');
  });
});

describe("isExpired", () => {
  test.each([
    ["x2qxvk", 2_000_000_000_000, false],
    ["x2qxvk", 2_000_000_000_999, false],
    ["x2qxvk", 2_000_000_001_000, true],
    ["x2qxvk", 1_999_999_999_999, false],
    ["0", 0, false],
    ["0", 999, false],
    ["0", 1_000, true],
    ["z", 35_000, false],
    ["z", 36_000, true],
    ["10", 36_999, false],
    ["3w5e11264sgsf", Number.MAX_SAFE_INTEGER, false],
  ])("isExpired of %p at %p ms is %p", (expiresB36, nowMs, expected) => {
    expect(isExpired(expiresB36, nowMs)).toBe(expected);
  });
});

describe("createSecretDigester", () => {
  test.each([
    ["secret", "secret", true],
    ["", "secret", false],
    ["secre", "secret", false],
    ["secret2", "secret", false],
    ["Secret", "secret", false],
    ["s".repeat(70_000), "secret", false],
    ["é", "é", true],
  ])("isEqualDigest compares whole secrets", (presented, secret, expected) => {
    const digester = createSecretDigester();
    expect(isEqualDigest(digester.digest(presented), digester.digest(secret))).toBe(expected);
  });

  test("digest is the same for a text and its bytes, and differs from other digesters'", () => {
    const [one, other] = [createSecretDigester(), createSecretDigester()];
    expect(isEqualDigest(one.digest("é"), one.digest(new Uint8Array([0xc3, 0xa9])))).toBe(true);
    expect(isEqualDigest(one.digest("é"), other.digest("é"))).toBe(false);
  });
});
