import { isBelow } from "./own-urls.ts";
import type { BrowserView } from "./view.ts";

/**
 * Rewrites the cookies of an answer for the client, in place. In the URI form their paths get the prefix. A `Domain`
 * that the client could not use, or that covers other sandboxes, is dropped (RFC 6265 §5.1.3, §5.2).
 *
 * The path of a `__Host-` cookie stays: browsers refuse it with another one than `/`. Its `Domain` is dropped like any other,
 * since programs and older browsers do not know the prefix, or only in this case of letters, and would obey it.
 */
export function rewriteCookies(headers: Headers, view: BrowserView): void {
  const cookies = headers.getSetCookie();
  const rewritten = cookies.map((cookie) => rewriteCookie(cookie, view));
  if (rewritten.every((cookie, at) => cookie === cookies[at])) return;
  headers.delete("set-cookie");
  for (const cookie of rewritten) headers.append("set-cookie", cookie);
}

function rewriteCookie(cookie: string, view: BrowserView): string {
  if (!cookie.includes(";")) return cookie;
  const keepsPath = /^\s*__Host-/i.test(cookie);
  const [pair = "", ...attributes] = cookie.split(";");
  const kept = [pair];
  for (const attribute of attributes) {
    const equals = attribute.indexOf("=");
    const name = (equals < 0 ? attribute : attribute.slice(0, equals)).trim().toLowerCase();
    const value = equals < 0 ? "" : attribute.slice(equals + 1).trim();
    if (name === "domain" && !view.keepsCookieDomain && isForeignDomain(value, view)) continue;
    kept.push(name === "path" && !keepsPath ? rewritePath(attribute, value, view) : attribute);
  }
  return kept.join(";");
}

/**
 * The scope is the prefix without a credential, so that cookies outlive a signed link. With `keep` the sandbox names
 * the whole path. A path outside its prefix would reach other sandboxes, so it becomes the prefix.
 */
function rewritePath(attribute: string, path: string, view: BrowserView): string {
  const { pagePrefix } = view;
  if (pagePrefix === "" || !path.startsWith("/") || isBelow(path, pagePrefix)) return attribute;
  return ` Path=${pagePrefix}${view.keepsPrefix ? "" : path}`;
}

/**
 * Whether a domain names the sandbox's address, or is the client's host or a parent of it. Without a `Domain` a cookie
 * belongs only to the client's host. With one, all hosts below get it too, and these are sandboxes in the host form.
 */
function isForeignDomain(domain: string, view: BrowserView): boolean {
  const name = withoutPort(trimDots(domain));
  if (name === "") return false;
  if (name === withoutPort(view.hostHeader) && view.hostHeader !== view.requestHost) return true;
  return name === withoutPort(view.hostPort) || `.${trimDots(withoutPort(view.clientHost))}`.endsWith(`.${name}`);
}

/** Clients differ in how many dots they ignore. */
function trimDots(host: string): string {
  let start = 0;
  let end = host.length;
  while (start < end && host.charAt(start) === ".") start++;
  while (end > start && host.charAt(end - 1) === ".") end--;
  return host.slice(start, end);
}

function withoutPort(host: string): string {
  return host.toLowerCase().replace(/:\d{1,5}$/, "");
}
