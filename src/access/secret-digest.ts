import { hash, randomBytes, timingSafeEqual } from "node:crypto";

/** Bytes of the salt: enough that a digest, wherever it leaks to, cannot be compared with those of guessed secrets. */
const SALT_BYTES = 16;

/** A digest of a secret: stands for it wherever it is to be compared later. */
export type SecretDigest = Uint8Array;

/** Makes digests that can be compared with each other, and with those of no other digester. */
export interface SecretDigester {
  digest(secret: string | Uint8Array): SecretDigest;
}

/** Creates a digester with a salt of its own: SHA-256 of salt and secret. */
export function createSecretDigester(): SecretDigester {
  const salt = randomBytes(SALT_BYTES);
  return {
    digest(secret) {
      const bytes = typeof secret === "string" ? Buffer.from(secret, "utf8") : secret;
      const salted = Buffer.allocUnsafe(SALT_BYTES + bytes.length);
      salted.set(salt);
      salted.set(bytes, SALT_BYTES);
      return hash("sha256", salted, "buffer");
    },
  };
}

/**
 * Whether two digests are equal, in a time that tells nothing of how much of them is.
 *
 * Digests are equally long whatever the secrets' lengths, so a wrong length takes the path that a wrong character does.
 * Hashing takes longer for longer secrets: for a presented one that is the client's own knowledge, for ours it is the same
 * at every call, whatever is presented.
 */
export function isEqualDigest(one: SecretDigest, other: SecretDigest): boolean {
  return timingSafeEqual(one, other);
}
