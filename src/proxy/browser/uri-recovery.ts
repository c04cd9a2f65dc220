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

/** What is needed to find the sandbox of a page and to check access to it. */
export interface RecoveryParts {
  readonly provider: Pick<SandboxProvider, "resolve">;
  readonly access: Pick<AccessChecker, "check">;
  readonly clock: Pick<Clock, "now">;
}

/** Where a lost request belongs. */
export interface Recovery {
  /** Path and query behind the prefix of the page, including the credential of a signed link. */
  readonly location: string;
  /** The route of the page. */
  readonly route: Route;
}

/**
 * Finds where a request for an absolute path (`/static/app.js`) belongs, from the page that asked for it. Undefined:
 * nothing tells.
 *
 * Only a page of the ingress's own origin counts, and only if the browser does not contradict: `Sec-Fetch-Site`, if
 * present, must be `same-origin`, and `Origin`, if present, must be the own one. Otherwise another origin from which a
 * page loads something could redirect the page's browser back. A redirect keeps the `Referer`, so that origin could
 * reach a path below a signed link that it does not know.
 *
 * The request must be allowed to enter the page's sandbox. Throws what the access check throws, which counts guesses.
 * The caller must then answer as it would without a `Referer`; a different answer would tell whether the sandbox
 * exists.
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

/** Builds the answer that redirects a client to the location. 307 keeps the method and the body (RFC 9110 §15.4.8). */
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

/** The part after the host of a URL of the client's own origin; undefined: the URL has another origin. */
function ownPathOf(url: string, lost: LostRequest): string | undefined {
  const split = splitUrl(url);
  if (split === undefined || split.scheme === "") return undefined;
  const isOwn = [lost.host, clientHostOf(lost)].some(
    (host) => host !== "" && split.host === normaliseHost(host, split.scheme),
  );
  return isOwn ? split.rest : undefined;
}

/** The route of the page in `Referer`; undefined: the page is not below a route. */
function routeOfPage(lost: LostRequest): Route | undefined {
  const referer = lost.seen["referer"];
  // Browsers shorten a longer one to its origin.
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
 * Whether a browser that follows a location ends below the prefix of a sandbox on this host, and not in a loop. The
 * location is parsed as browsers do (WHATWG URL): they treat `\` as `/` and `%2e` as `.`.
 */
function staysBelow(location: string, prefix: string): boolean {
  const url = URL.parse(location, ANY_ORIGIN);
  return url !== null && url.origin === ANY_ORIGIN && isBelow(url.pathname, prefix);
}

const ANY_ORIGIN = "http://own.invalid";
