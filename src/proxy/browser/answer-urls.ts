import type { HeaderSnapshot } from "../request/headers.ts";
import { rewriteCookies } from "./cookies.ts";
import { addCors, saysCors } from "./cors.ts";
import { isBelow, isSandboxOrigin, splitUrl } from "./own-urls.ts";
import { addVary } from "./vary.ts";
import type { BrowserView } from "./view.ts";
import { rewriteWorkerScope } from "./worker-scope.ts";

/** Headers whose value is one URL. */
const URL_HEADERS = ["location", "content-location"] as const;

/**
 * Makes a sandbox's answer name the origin and the paths that its client sees, in place. Only headers that are there are
 * looked at: an answer without them costs nothing. Bodies are never rewritten. With `--cors-origins` it also says who may read the
 * answer, where the sandbox says nothing about CORS; and it tells caches by which headers the answer was chosen.
 * @param headers Rewritten already.
 * @param seen As the sandbox sent them.
 */
export function rewriteAnswerUrls(headers: Headers, seen: HeaderSnapshot, view: BrowserView): void {
  for (const name of URL_HEADERS) {
    if (seen[name] !== undefined) rewriteField(headers, name, (value) => toClientUrl(value, view));
  }
  if (seen["refresh"] !== undefined) rewriteField(headers, "refresh", (value) => rewriteRefresh(value, view));
  if (seen["link"] !== undefined) rewriteField(headers, "link", (value) => rewriteLinks(value, view));
  if (seen["access-control-allow-origin"] !== undefined) {
    rewriteField(headers, "access-control-allow-origin", (value) => toClientOrigin(value, view));
  }
  if (seen["set-cookie"] !== undefined) rewriteCookies(headers, view);
  if (seen["service-worker-allowed"] !== undefined) rewriteWorkerScope(headers, view);
  if (view.cors !== undefined && !saysCors(seen)) addCors(headers, view.cors);
  if (view.varies.length > 0) addVary(headers, view.varies);
}

/** Sets a field anew where its value changes. What `Connection` named is gone, and stays so. */
function rewriteField(headers: Headers, name: string, rewrite: (value: string) => string): void {
  const value = headers.get(name);
  if (value === null) return;
  const rewritten = rewrite(value);
  if (rewritten !== value) headers.set(name, rewritten);
}

/** A URL of the sandbox as the client has to use it; one of another origin, or a relative path, stays as it is. */
export function toClientUrl(url: string, view: BrowserView): string {
  const split = splitUrl(url);
  if (split === undefined) return url.startsWith("/") ? addPrefix(url, view) : url;
  if (!isSandboxOrigin(split, view)) return url;
  const path = addPrefix(split.rest.startsWith("/") ? split.rest : `/${split.rest}`, view);
  // HTTP/1.0 has no Host, so nothing better is known than the path.
  if (view.clientHost === "") return path;
  return `${split.scheme === "" ? "" : `${view.scheme}:`}//${view.clientHost}${path}`;
}

/** Puts the prefix in front of a path that begins with `/`, and the credential of a signed route behind a bare prefix. */
function addPrefix(path: string, view: BrowserView): string {
  if (view.prefix === "" || isBelow(path, view.prefix)) return path;
  return view.prefix + (isBelow(path, view.plainPrefix) ? path.slice(view.plainPrefix.length) : path);
}

/** `Refresh: <seconds>[;,] [url=]<url>` (HTML, "shared declarative refresh steps"); the URL may be quoted. */
function rewriteRefresh(value: string, view: BrowserView): string {
  const match = /^([^;,]{0,32}[;,][ \t]{0,32}(?:url[ \t]{0,32}=[ \t]{0,32})?)(["']?)(.*)$/i.exec(value);
  if (match === null) return value;
  const [, head = "", quote = "", rest = ""] = match;
  const end = quote === "" ? -1 : rest.indexOf(quote);
  const url = end < 0 ? rest : rest.slice(0, end);
  return head + quote + toClientUrl(url, view) + rest.slice(url.length);
}

/** The targets of `Link` (RFC 8288 §3): `<…>` at the beginning of each element. A quoted parameter is passed over;
 * one without an end takes the rest, so that no text is looked through twice. */
function rewriteLinks(value: string, view: BrowserView): string {
  return value.replace(/"(?:[^"\\]|\\[^]?)*"?|<([^<>]*)>/g, (whole, target: string | undefined) =>
    target === undefined ? whole : `<${toClientUrl(target, view)}>`,
  );
}

function toClientOrigin(origin: string, view: BrowserView): string {
  const split = splitUrl(origin);
  const isOwn = split !== undefined && split.rest === "" && isSandboxOrigin(split, view);
  return isOwn && view.clientHost !== "" ? `${view.scheme}://${view.clientHost}` : origin;
}
