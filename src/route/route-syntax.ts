/**
 * The longest sandbox id, in characters: a Kubernetes object name is a DNS subdomain of at most 253 characters (RFC
 * 1123; Kubernetes "Object Names and IDs"). Longer ids name nothing, so they are refused before any look-up.
 */
export const SANDBOX_ID_MAX_LENGTH = 253;

/** The largest expiry, the largest uint64, in base 36 (OSEP-0011). */
const EXPIRES_MAX = "3w5e11264sgsf";

/**
 * A sandbox id: RFC 3986's unreserved characters and sub-delims, without the comma. These need no encoding in a path
 * and cannot be mistaken for a list, a URL or white space in a header field. Some of them cannot be in a Kubernetes
 * name, but AgentSandbox ids are mapped to names (docs/contract.md §1).
 */
const SANDBOX_ID = /^[A-Za-z0-9\-._~!$&'()*+;=]{1,253}$/;

/** 1 to 13 characters of lower-case base 36, without a leading zero except in `0` itself. */
const EXPIRES = /^(?:0|[1-9a-z][0-9a-z]{0,12})$/;

/** Eight lower-case hex digits and a key id (OSEP-0011). */
const SIGNATURE = /^[0-9a-f]{8}[0-9a-z]$/;

/** Whether a text is a sandbox id: 1 to 253 characters of the id's alphabet. */
export function isSandboxId(text: string): boolean {
  return SANDBOX_ID.test(text);
}

/** Whether an id can be written in the header and host forms, which end it at the first `.`. */
export function isLabelSandboxId(text: string): boolean {
  return isSandboxId(text) && !text.includes(".");
}

/** Whether a text is an expiry: a uint64 in lower-case base 36, without a leading zero. */
export function isExpires(text: string): boolean {
  // Base 36 digits sort like their ASCII codes, so numbers of equal length compare as texts.
  return EXPIRES.test(text) && (text.length < EXPIRES_MAX.length || text <= EXPIRES_MAX);
}

/** Whether a text is the signature of a route. */
export function isSignature(text: string): boolean {
  return SIGNATURE.test(text);
}

/** Whether a text is the id of a key: one digit of lower-case base 36 (OSEP-0011). */
export function isKeyId(text: string): boolean {
  return /^[0-9a-z]$/.test(text);
}
