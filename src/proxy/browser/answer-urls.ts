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
 * Makes a sandbox's answer name the origin and the paths that its client sees, in place. Only existing headers are
 * read, so an answer without them costs nothing. Bodies are never rewritten. With `--cors-origins` it also says who may
 * read the answer, if the sandbox says nothing about CORS. It tells caches which headers chose the answer.
 * @param headers The headers after the hop-by-hop rewrite.
 * @param seen The headers as the sandbox sent them.
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

/** Sets a field again if its value changes. Fields that `Connection` removed stay removed. */
function rewriteField(headers: Headers, name: string, rewrite: (value: string) => string): void {
  const value = headers.get(name);
  if (value === null) return;
  const rewritten = rewrite(value);
  if (rewritten !== value) headers.set(name, rewritten);
}

/**
 * Turns a URL of the sandbox into the one for the client. A URL of another origin and a relative path stay as they are.
 */
export function toClientUrl(url: string, view: BrowserView): string {
  const split = splitUrl(url);
  if (split === undefined) return url.startsWith("/") ? addPrefix(url, view) : url;
  if (!isSandboxOrigin(split, view)) return url;
  const path = addPrefix(split.rest.startsWith("/") ? split.rest : `/${split.rest}`, view);
  // HTTP/1.0 has no Host, so only the path is known.
  if (view.clientHost === "") return path;
  return `${split.scheme === "" ? "" : `${view.scheme}:`}//${view.clientHost}${path}`;
}

/**
 * Adds the prefix to a path that begins with `/`. If the path has the prefix without the credential of a signed route,
 * adds the credential.
 */
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

/**
 * Rewrites the targets of `Link` (RFC 8288 §3): `<…>` at the beginning of each element. A quoted parameter is skipped.
 * One without an end takes the rest, so that no text is read twice.
 */
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
