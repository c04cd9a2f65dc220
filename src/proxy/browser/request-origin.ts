import type { HeaderSnapshot } from "../request/headers.ts";
import { isBelow, isClientOrigin, splitUrl } from "./own-urls.ts";
import type { BrowserView } from "./view.ts";

/**
 * Turns an `Origin` and a `Referer` that name the client's own origin into the sandbox's, as the sandbox sees it in `Host`,
 * where `--origin-header upstream` asks for it. Foreign ones pass untouched, so that the sandbox can refuse them.
 *
 * In the URI form all sandboxes share an origin, so a `Referer` below another prefix makes both foreign.
 * @param headers Rewritten already, so free of credentials.
 * @param seen As the client sent them.
 */
export function rewriteOrigin(headers: Headers, seen: HeaderSnapshot, view: BrowserView): void {
  if (!view.turnsOrigin) return;
  const referer = seen["referer"];
  const isOwnReferer = referer !== undefined && isOwnPage(referer, view);
  const origin = seen["origin"];
  const originUrl = origin === undefined ? undefined : splitUrl(origin);
  const isForeignPage = view.pagePrefix !== "" && referer !== undefined && !isOwnReferer;
  const isOwnOrigin = originUrl !== undefined && isClientOrigin(originUrl, view) && !isForeignPage;
  // What the client named in Connection is gone, and stays so.
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
