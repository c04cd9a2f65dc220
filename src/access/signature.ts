import { hash, timingSafeEqual } from "node:crypto";
import type { RouteSignature } from "../route/route.ts";
import type { AccessKeys } from "./keys.ts";

/** What a signature covers (OSEP-0011). */
export interface SignedFields {
  /** As in the route; lower case in the host form. */
  readonly sandboxId: string;
  /** 1–65535. */
  readonly port: number;
  /** Lower-case base 36 of a uint64 epoch second. */
  readonly expiresB36: string;
}

/** How many hex digits of the digest a signature keeps. */
const SIGNATURE_HEX_LENGTH = 8;

/** Result of checking a signature. `isExpired` checks the expiry. */
export type SignatureVerdict = "valid" | "unknown-key" | "mismatch";

/** The id of the key that a signature names: the text after the digits. */
export function keyIdOf(signature: RouteSignature): string {
  return signature.signature.slice(SIGNATURE_HEX_LENGTH);
}

/** Signs a route with one of the keys. Throws an Error if the key is unknown. */
export function signRoute(keys: AccessKeys, keyId: string, fields: SignedFields): RouteSignature {
  const secret = keys.secretOf(keyId);
  if (secret === undefined) throw new Error(`Cannot sign a route: key "${keyId}" is missing`);
  return { expiresB36: fields.expiresB36, signature: computeDigits(secret, fields) + keyId };
}

/**
 * Checks a route's signature with the key that it names. Compares in constant time and does the same work for an
 * unknown key id. Does not check the expiry. Never throws.
 */
export function verifySignature(
  keys: AccessKeys,
  target: { readonly sandboxId: string; readonly port: number; readonly signature: RouteSignature },
): SignatureVerdict {
  const { sandboxId, port, signature } = target;
  const keyId = keyIdOf(signature);
  const secret = keys.secretOf(keyId);
  const fields = { sandboxId, port, expiresB36: signature.expiresB36 };
  const presented = Buffer.from(signature.signature, "utf8");
  const expected = Buffer.from(computeDigits(secret ?? keys.decoySecret(), fields) + keyId, "utf8");
  // A signature's length is not secret; the parser accepts only one length.
  const isEqual = presented.length === expected.length && timingSafeEqual(presented, expected);
  if (secret === undefined) return "unknown-key";
  return isEqual ? "valid" : "mismatch";
}

/**
 * Whether a signed route has expired. It is valid up to and including the second that it names (docs/contract.md §3).
 *
 * Exact for every uint64, without BigInt: base-36 numbers without leading zeros compare by length, then as texts.
 */
export function isExpired(expiresB36: string, nowMs: number): boolean {
  const now = Math.floor(nowMs / 1000).toString(36);
  if (now.length !== expiresB36.length) return now.length > expiresB36.length;
  return now > expiresB36;
}

/** `hex(sha256(BE32(len(secret)) || secret || BE32(len(canonical)) || canonical))[0:8]`: OSEP-0011. */
function computeDigits(secret: Uint8Array, fields: SignedFields): string {
  const canonical = `v1\nshort\n${fields.sandboxId}\n${fields.port}\n${fields.expiresB36}\n`;
  const canonicalLength = Buffer.byteLength(canonical, "utf8");
  const inner = Buffer.allocUnsafe(4 + secret.length + 4 + canonicalLength);
  let at = inner.writeUInt32BE(secret.length, 0);
  inner.set(secret, at);
  at = inner.writeUInt32BE(canonicalLength, at + secret.length);
  inner.write(canonical, at, "utf8");
  return hash("sha256", inner, "hex").slice(0, SIGNATURE_HEX_LENGTH);
}
