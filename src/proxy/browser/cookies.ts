import { isBelow } from "./own-urls.ts";
import type { BrowserView } from "./view.ts";

/**
 * Rewrites the cookies of an answer for the client, in place. In the URI form their paths get the prefix. A `Domain`
 * that the client could not use, or that covers other sandboxes, is dropped (RFC 6265 §5.1.3, §5.2).
 *
 * `__Host-` cookies pass as they are. They have no `Domain`, and browsers refuse them with a path other than `/`.
 */
export function rewriteCookies(headers: Headers, view: BrowserView): void {
  const cookies = headers.getSetCookie();
  const rewritten = cookies.map((cookie) => rewriteCookie(cookie, view));
  if (rewritten.every((cookie, at) => cookie === cookies[at])) return;
  headers.delete("set-cookie");
  for (const cookie of rewritten) headers.append("set-cookie", cookie);
}

function rewriteCookie(cookie: string, view: BrowserView): string {
  if (/^\s*__Host-/i.test(cookie) || !cookie.includes(";")) return cookie;
  const [pair = "", ...attributes] = cookie.split(";");
  const kept = [pair];
  for (const attribute of attributes) {
    const equals = attribute.indexOf("=");
    const name = (equals < 0 ? attribute : attribute.slice(0, equals)).trim().toLowerCase();
    const value = equals < 0 ? "" : attribute.slice(equals + 1).trim();
    if (name === "domain" && !view.keepsCookieDomain && isForeignDomain(value, view)) continue;
    kept.push(name === "path" ? rewritePath(attribute, value, view) : attribute);
  }
  return kept.join(";");
}

/** The scope is the prefix without a credential, so that cookies outlive a signed link. */
function rewritePath(attribute: string, path: string, view: BrowserView): string {
  const { plainPrefix } = view;
  if (plainPrefix === "" || !path.startsWith("/") || isBelow(path, plainPrefix)) return attribute;
  return ` Path=${plainPrefix}${path}`;
}

/** Whether a domain names the sandbox's address or is a parent of the client's host. */
function isForeignDomain(domain: string, view: BrowserView): boolean {
  const name = withoutPort(domain.startsWith(".") ? domain.slice(1) : domain);
  if (name === "") return false;
  if (name === withoutPort(view.hostHeader) && view.hostHeader !== view.requestHost) return true;
  return name === withoutPort(view.hostPort) || withoutPort(view.clientHost).endsWith(`.${name}`);
}

function withoutPort(host: string): string {
  return host.toLowerCase().replace(/:\d{1,5}$/, "");
}
