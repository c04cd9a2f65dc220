/**
 * How many elements a list such as `Connection` or `Sec-WebSocket-Protocol` may have, empty ones included. Real clients
 * and servers send at most four. Each element costs a look-up, so thousands of them would be an attack.
 */
export const LIST_ELEMENTS_MAX = 64;

const COMMA = ",";

/** Whether a list field has more than `LIST_ELEMENTS_MAX` elements. It reads no further than it must. */
export function isListTooLong(value: string): boolean {
  let at = -1;
  for (let commas = 0; commas < LIST_ELEMENTS_MAX; commas++) {
    at = value.indexOf(COMMA, at + 1);
    if (at < 0) return false;
  }
  return true;
}

/**
 * Whether a list field (RFC 9110 §5.6.1) contains `token` in any case. Only the first `LIST_ELEMENTS_MAX` elements
 * count; a longer list is refused elsewhere.
 * @param token In lower case.
 */
export function hasToken(value: string | undefined, token: string): boolean {
  if (value === undefined) return false;
  if (value === token) return true;
  let start = 0;
  for (let elements = 0; elements < LIST_ELEMENTS_MAX; elements++) {
    const comma = value.indexOf(COMMA, start);
    const end = comma < 0 ? value.length : comma;
    if (end - start >= token.length && value.slice(start, end).trim().toLowerCase() === token) return true;
    if (comma < 0) return false;
    start = comma + 1;
  }
  return false;
}
