import { hash, randomBytes, timingSafeEqual } from "node:crypto";

/** Bytes of the salt: enough that a leaked digest cannot be compared with digests of guessed secrets. */
const SALT_BYTES = 16;

/** A digest of a secret. It stands for the secret in later comparisons. */
export type SecretDigest = Uint8Array;

/** Makes digests that can be compared only with digests of the same digester. */
export interface SecretDigester {
  digest(secret: string | Uint8Array): SecretDigest;
}

/** Creates a digester with its own salt: SHA-256 of salt and secret. */
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
 * Whether two digests are equal, in a time that does not depend on how much of them is equal.
 *
 * All digests have the same length, so a wrong length and a wrong character take the same path. Hashing a longer secret
 * takes longer. For the presented secret this tells the client only what it knows; for the stored secret it is the same
 * at every call.
 */
export function isEqualDigest(one: SecretDigest, other: SecretDigest): boolean {
  return timingSafeEqual(one, other);
}
