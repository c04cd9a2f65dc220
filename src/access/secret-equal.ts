import { hash, timingSafeEqual } from "node:crypto";

/**
 * Whether two texts are equal, in a time that tells nothing of how much of them is.
 *
 * Compares SHA-256 digests: these are equally long whatever the texts' lengths, so a wrong length takes the path that
 * a wrong character does. Hashing takes longer for longer texts: for the presented one that is the client's own
 * knowledge, for the secret one it is the same at every call, whatever is presented.
 */
export function isSecretEqual(presented: string, secret: string): boolean {
  return timingSafeEqual(digest(presented), digest(secret));
}

function digest(text: string): Uint8Array {
  return hash("sha256", text, "buffer");
}
