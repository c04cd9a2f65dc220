import { isBelow } from "./own-urls.ts";
import type { BrowserView } from "./view.ts";

/**
 * Keeps `Service-Worker-Allowed` (Service Workers §4.1) below the sandbox's prefix in the URI form, in place. There all
 * sandboxes share an origin. A worker of one sandbox that is allowed for `/` would from then on answer for all others
 * in that browser.
 *
 * A scope outside the prefix gets the prefix, like the path of a cookie. With `keep` the sandbox knows its prefix, so
 * such a scope is dropped. The scope is parsed as browsers do, with dot segments and `\`. Relative scopes start at the
 * root.
 */
export function rewriteWorkerScope(headers: Headers, view: BrowserView): void {
  const value = headers.get("service-worker-allowed");
  if (value === null || view.pagePrefix === "") return;
  const url = URL.parse(value, ANY_ORIGIN);
  const path = url === null || url.origin !== ANY_ORIGIN ? undefined : url.pathname;
  if (path !== undefined && isBelow(path, view.pagePrefix)) headers.set("service-worker-allowed", path);
  else if (path === undefined || view.keepsPrefix) headers.delete("service-worker-allowed");
  else headers.set("service-worker-allowed", view.pagePrefix + path);
}

const ANY_ORIGIN = "http://own.invalid";
