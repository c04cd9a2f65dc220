import type { AccessChecker } from "../../access/request.ts";
import type { Clock } from "../../clock.ts";
import { parseRoute } from "../../route/parse-route.ts";
import type { Route } from "../../route/route.ts";
import type { SandboxProvider } from "../../sandbox/provider.ts";
import { IngressError } from "../../errors.ts";
import { URL_MAX_LENGTH } from "../request/route-credentials.ts";
import type { RequestTarget } from "../request/target.ts";
import { type ClientSource, clientHostOf, outerPrefixOf, uriCredentialOf } from "./client-side.ts";
import { isBelow, normaliseHost, splitUrl } from "./own-urls.ts";

/** A request in the URI form whose path leads to no sandbox. */
export interface LostRequest extends ClientSource {
  readonly target: RequestTarget;
  readonly headers: Headers;
}

/** What tells whether the sandbox of the page is there, and whether the request may enter it. */
export interface RecoveryParts {
  readonly provider: Pick<SandboxProvider, "resolve">;
  readonly access: Pick<AccessChecker, "check">;
  readonly clock: Pick<Clock, "now">;
}

/** Where a lost request belongs. */
export interface Recovery {
  /** Path and query with the prefix of the page in front, credential of a signed link included. */
  readonly location: string;
  /** The page's. */
  readonly route: Route;
}

/**
 * Finds where a request for an absolute path (`/static/app.js`) belongs, by the page that asked for it. Undefined: nothing says so.
 *
 * Only a page of our own origin counts, and only where the browser says nothing else: `Sec-Fetch-Site` must be `same-origin` and
 * `Origin` ours, if they are there. Without that, another origin that a page loads something from could send the page's browser
 * back with a redirect, which keeps the `Referer`, and so reach a path below a signed link that it does not know.
 *
 * The request must be allowed to enter the page's sandbox: throws what the access check throws, which counts guesses. The caller must
 * answer that as it would have without a `Referer`, or it tells whether there is such a sandbox.
 */
export function findRecovery(lost: LostRequest, parts: RecoveryParts): Recovery | undefined {
  if (isFromElsewhere(lost)) return undefined;
  const route = routeOfPage(lost);
  if (route === undefined) return undefined;
  const resolution = parts.provider.resolve(route.sandboxId);
  if (resolution.state !== "found") return undefined;
  const { address, seen, target } = lost;
  const { path } = parts.access.check({
    route,
    sandboxUid: resolution.record.uid,
    accessToken: resolution.record.accessToken,
    presentedToken: seen["opensandbox-secure-access"] ?? null,
    clientAddress: address.client,
    peerAddress: address.peer,
    nowMs: parts.clock.now(),
  });
  const prefix = outerPrefixOf(lost) + route.prefix;
  const credential = uriCredentialOf({ route, isSigned: path === route.signedPath });
  const location = prefix + credential + target.path + target.query;
  return staysBelow(location, prefix) ? { location, route } : undefined;
}

/** The answer that sends a client there. 307 keeps the method and the body (RFC 9110 §15.4.8). */
export function redirectTo({ location }: Recovery): Response {
  return new Response(null, {
    status: 307,
    headers: { Location: location, "Cache-Control": "no-store", Vary: "Referer" },
  });
}

function isFromElsewhere(lost: LostRequest): boolean {
  const site = lost.seen["sec-fetch-site"];
  if (site !== undefined && site !== "same-origin") return true;
  const origin = lost.seen["origin"];
  if (origin === undefined) return false;
  return ownPathOf(origin, lost) !== "";
}

/** What follows the host of a URL of the client's own origin; undefined: it is of another. */
function ownPathOf(url: string, lost: LostRequest): string | undefined {
  const split = splitUrl(url);
  if (split === undefined || split.scheme === "") return undefined;
  const isOwn = [lost.host, clientHostOf(lost)].some(
    (host) => host !== "" && split.host === normaliseHost(host, split.scheme),
  );
  return isOwn ? split.rest : undefined;
}

/** The route of the page in `Referer`; undefined: that is not below any. */
function routeOfPage(lost: LostRequest): Route | undefined {
  const referer = lost.seen["referer"];
  // Browsers cut a longer one to its origin.
  if (referer === undefined || referer.length > URL_MAX_LENGTH) return undefined;
  const rest = ownPathOf(referer, lost);
  const outer = outerPrefixOf(lost);
  if (rest === undefined || !isBelow(rest, outer)) return undefined;
  const [path = ""] = rest.slice(outer.length).split(/[?#]/, 1);
  try {
    return parseRoute({ path, headers: lost.headers, host: lost.host }, "uri");
  } catch (thrown) {
    if (thrown instanceof IngressError) return undefined;
    throw thrown;
  }
}

/**
 * Whether a browser that follows a location ends below the prefix of an own sandbox: on this host, and not in a loop. Read as browsers
 * read it (WHATWG URL), which take `\` for `/` and `%2e` for `.`.
 */
function staysBelow(location: string, prefix: string): boolean {
  const url = URL.parse(location, ANY_ORIGIN);
  return url !== null && url.origin === ANY_ORIGIN && isBelow(url.pathname, prefix);
}

const ANY_ORIGIN = "http://own.invalid";
