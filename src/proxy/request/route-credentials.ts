/**
 * Removes the credential of a signed route (OSEP-0011: expiry and signature) from what the sandbox gets. Otherwise
 * whoever reads the sandbox's log could use the link. Text that only looks like a credential is removed too.
 *
 * All functions are linear in the length of the text, since every repetition in the expressions is bounded.
 */

/** `-<port>-<expires>-<signature>` at the end of a label. Host names have no case (RFC 9110 §4.2.3). */
const HOST_CREDENTIAL = /-([1-9]\d{0,4})-[0-9a-z]{1,13}-[0-9a-f]{8}[0-9a-z](?=[.:/?#,;"\s]|$)/gi;

/** `/<id>/<port>/<expires>/<signature>` anywhere in a path, since proxies in front may have added a prefix. */
const PATH_CREDENTIAL = /(\/[^/?#]{1,253}\/[1-9]\d{0,4})\/[0-9a-z]{1,13}\/[0-9a-f]{8}[0-9a-z](?=[/?#,;"\s]|$)/g;

/**
 * The longest URL that is searched, in characters. Browsers cut a longer `Referer` to its origin (Referrer Policy
 * §8.3).
 */
export const URL_MAX_LENGTH = 4_096;

/** A host, or several in a list: `<id>-<port>-<expires>-<signature>.<domain>` becomes `<id>-<port>.<domain>`. */
export function stripHostCredentials(hosts: string): string {
  if (!hosts.includes("-")) return hosts;
  return hosts.replace(HOST_CREDENTIAL, "-$1");
}

/**
 * Removes credentials from the authority and the path of a URL or an origin. The query belongs to the application. A
 * URL of more than `URL_MAX_LENGTH` characters becomes its origin with the path `/`, as browsers would send it.
 */
export function stripUrlCredentials(url: string): string {
  const scheme = url.indexOf("://");
  const authority = scheme < 0 ? 0 : scheme + "://".length;
  const query = endOf(url, "?", authority);
  const path = Math.min(endOf(url, "/", authority), query);
  const origin = url.slice(0, authority) + stripHostCredentials(url.slice(authority, path));
  if (url.length > URL_MAX_LENGTH) return `${origin}/`;
  return origin + stripPathCredentials(url.slice(path, query)) + url.slice(query);
}

/** Removes credentials from a value of a forwarding header, which may hold hosts or paths, up to a query. */
export function stripForwardedCredentials(value: string): string {
  const query = endOf(value, "?", 0);
  return stripHostCredentials(stripPathCredentials(value.slice(0, query))) + value.slice(query);
}

function stripPathCredentials(path: string): string {
  return path.replace(PATH_CREDENTIAL, "$1");
}

/** The first index of `mark` from `start` on, or the text's length. */
function endOf(text: string, mark: string, start: number): number {
  const at = text.indexOf(mark, start);
  return at < 0 ? text.length : at;
}
