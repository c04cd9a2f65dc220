import { isBelow } from "./own-urls.ts";
import type { BrowserView } from "./view.ts";

/**
 * Keeps `Service-Worker-Allowed` (Service Workers §4.1) below the sandbox's prefix in the URI form, in place. There all
 * sandboxes share an origin, and a worker of one, once allowed for `/`, would answer for all others in that browser from then on.
 *
 * A scope in front of the prefix gets the prefix, as the path of a cookie does; with `keep` the sandbox knows better, and it is
 * dropped. Read as browsers read it, which take dot segments and `\` into account; relative scopes count from the root.
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
