/**
 * The longest sandbox id, in characters: a Kubernetes object name is a DNS subdomain of at most 253
 * (RFC 1123; Kubernetes "Object Names and IDs"). Longer ids name nothing, so they are refused before any look-up.
 */
export const SANDBOX_ID_MAX_LENGTH = 253;

/** RFC 6335 §6; 0 is reserved. */
export const PORT_MAX = 65_535;

/** Longest port, in digits. */
const PORT_MAX_DIGITS = 5;

/** The largest uint64 in base 36: what an expiry may be at the most (OSEP-0011). */
const EXPIRES_MAX = "3w5e11264sgsf";

/** Length of a route's signature: eight hex digits and the key id (OSEP-0011). */
export const SIGNATURE_LENGTH = 9;

const DOT = 0x2e;
const COLON = 0x3a;
const ZERO = 0x30;

/**
 * What a sandbox id may consist of: RFC 3986's unreserved characters and sub-delims, without the comma. These need no
 * encoding in a path and cannot be mistaken for a list, a URL or white space in a header field; an id that a
 * Kubernetes name cannot equal may still be legal, since AgentSandbox ids are mapped to names (docs/contract.md §1).
 */
const SANDBOX_ID_CHARACTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~!$&'()*+;=";

const IS_SANDBOX_ID_CODE: readonly boolean[] = Array.from({ length: 128 }, (_, code) =>
  SANDBOX_ID_CHARACTERS.includes(String.fromCharCode(code)),
);

/** Whether a character (UTF-16 code) may stand in a sandbox id. */
export function isSandboxIdCode(code: number): boolean {
  return IS_SANDBOX_ID_CODE[code] === true;
}

/** Whether the whole text is a sandbox id: 1–253 characters of the id's alphabet. */
export function isSandboxId(text: string): boolean {
  if (text.length === 0 || text.length > SANDBOX_ID_MAX_LENGTH) return false;
  for (let at = 0; at < text.length; at++) {
    if (!isSandboxIdCode(text.charCodeAt(at))) return false;
  }
  return true;
}

/** Whether an id can be written in the header and host forms, which end it at the first `.`. */
export function isLabelSandboxId(text: string): boolean {
  return isSandboxId(text) && !text.includes(".");
}

/**
 * The port in `text[start, end)`: 1–65535 in decimal digits without leading zero. 0 where it is none; never throws.
 * Reads at most five characters.
 */
export function parsePort(text: string, start: number, end: number): number {
  const length = end - start;
  if (length < 1 || length > PORT_MAX_DIGITS || text.charCodeAt(start) === ZERO) return 0;
  let port = 0;
  for (let at = start; at < end; at++) {
    const digit = text.charCodeAt(at) - ZERO;
    if (digit < 0 || digit > 9) return 0;
    port = port * 10 + digit;
  }
  return port <= PORT_MAX ? port : 0;
}

/**
 * Whether `text[start, end)` is an expiry: 1–13 characters of lower-case base 36, no leading zero except `0` itself,
 * at most 2^64 - 1. Reads at most thirteen characters.
 */
export function isExpires(text: string, start: number, end: number): boolean {
  const length = end - start;
  if (length < 1 || length > EXPIRES_MAX.length) return false;
  if (length > 1 && text.charCodeAt(start) === ZERO) return false;
  for (let at = start; at < end; at++) {
    if (!isBase36Code(text.charCodeAt(at))) return false;
  }
  // Digits of base 36 sort as their ASCII codes do, so equally long numbers compare as texts.
  return length < EXPIRES_MAX.length || text.slice(start, end) <= EXPIRES_MAX;
}

/** Whether `text[start, end)` is a signature: eight lower-case hex digits and a key id. */
export function isSignature(text: string, start: number, end: number): boolean {
  if (end - start !== SIGNATURE_LENGTH) return false;
  for (let at = start; at < end - 1; at++) {
    if (!isLowerHexCode(text.charCodeAt(at))) return false;
  }
  return isBase36Code(text.charCodeAt(end - 1));
}

/** Whether a character (UTF-16 code) ends the label that carries a host-style route: the `.`, or the `:` of a port. */
export function endsLabel(code: number): boolean {
  return code === DOT || code === COLON;
}

/** Whether a character (UTF-16 code) is a digit of lower-case base 36; also what a key id may be. */
export function isBase36Code(code: number): boolean {
  return (code >= ZERO && code <= 0x39) || (code >= 0x61 && code <= 0x7a);
}

function isLowerHexCode(code: number): boolean {
  return (code >= ZERO && code <= 0x39) || (code >= 0x61 && code <= 0x66);
}
