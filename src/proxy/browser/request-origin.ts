import type { HeaderSnapshot } from "../request/headers.ts";
import { isBelow, isClientOrigin, splitUrl } from "./own-urls.ts";
import type { BrowserView } from "./view.ts";

/**
 * Rewrites `Origin` and `Referer` with `--origin-header upstream`: the client's own origin becomes the one that the
 * sandbox sees in `Host`. Foreign ones pass unchanged, so that the sandbox can refuse them.
 *
 * In the URI form all sandboxes share one origin, so a `Referer` below another prefix makes both foreign.
 * @param headers The headers after the first rewrite, so without credentials.
 * @param seen The headers as the client sent them.
 */
export function rewriteOrigin(headers: Headers, seen: HeaderSnapshot, view: BrowserView): void {
  if (!view.turnsOrigin) return;
  const referer = seen["referer"];
  const isOwnReferer = referer !== undefined && isOwnPage(referer, view);
  const origin = seen["origin"];
  const originUrl = origin === undefined ? undefined : splitUrl(origin);
  const isForeignPage = view.pagePrefix !== "" && referer !== undefined && !isOwnReferer;
  const isOwnOrigin = originUrl !== undefined && isClientOrigin(originUrl, view) && !isForeignPage;
  // Headers that the client named in `Connection` stay removed.
  if (isOwnOrigin && headers.has("origin")) headers.set("origin", `http://${view.hostHeader}`);
  const passed = isOwnReferer ? splitUrl(headers.get("referer") ?? "") : undefined;
  if (passed !== undefined) headers.set("referer", `http://${view.hostHeader}${withoutPrefix(passed.rest, view)}`);
}

function isOwnPage(referer: string, view: BrowserView): boolean {
  const url = splitUrl(referer);
  return url !== undefined && isClientOrigin(url, view) && isBelow(url.rest, view.pagePrefix);
}

function withoutPrefix(rest: string, view: BrowserView): string {
  const path = isBelow(rest, view.plainPrefix) ? rest.slice(view.plainPrefix.length) : rest;
  return path.startsWith("/") ? path : `/${path}`;
}
