import type { AdminToken } from "../access/admin-token.ts";
import { LeakyBuckets } from "../access/leaky-buckets.ts";
import { classifyAddress, type ClientNetwork, clientNetworkOf, parseAddress } from "../address.ts";
import type { Clock } from "../clock.ts";
import type { Logger } from "../log/logger.ts";

/** Wrong tokens that a client may send at once. It allows for a person who mistypes, or a script with an old token. */
export const GUESS_BURST = 10;

/** Milliseconds after which a client may send one more: ten a minute. */
export const GUESS_LEAK_MS = 6_000;

/**
 * The same for all clients of one IPv6 /48, which a hoster may give to one customer: ten times the limits of one
 * client.
 */
const SITE_GUESS_BURST = 10 * GUESS_BURST;
const SITE_GUESS_LEAK_MS = GUESS_LEAK_MS / 10;

/**
 * The value of `Retry-After`, in seconds. It is longer than `GUESS_LEAK_MS`, so that a client that waits this long is
 * heard.
 */
const GUESS_RETRY_SECONDS = 10;

/**
 * Clients that are remembered, about 500 bytes each. When it is full, those with the fewest wrong tokens are forgotten
 * first.
 */
const GUESSERS_MAX = 4_096;

/** Shortest time between two warnings about wrong tokens, in milliseconds. */
const WARNING_MS = 60_000;

/**
 * The peers of a port forward. The rest of 127.0.0.0/8 is excluded, since the sidecars of a mesh connect from 127.0.0.6
 * for others.
 */
const OWN_PEERS: ReadonlySet<string> = new Set(["127.0.0.1", "::1"]);

/** Headers that only a proxy sends. If one is present, the peer is not the client. */
const PROXY_HEADERS: ReadonlySet<string> = new Set([
  "forwarded", // RFC 7239
  "via", // RFC 9110 §7.6.3
  "cdn-loop", // RFC 8586
  "x-real-ip",
  "x-client-ip",
  "x-cluster-client-ip",
  "x-original-forwarded-for",
  "x-remote-user", // kubectl proxy and the API server's own
  "true-client-ip",
  "cf-connecting-ip",
  "fastly-client-ip",
]);
const PROXY_PREFIXES = ["x-forwarded-", "x-envoy-", "x-remote-"] as const;

/** Whether a request may see the operator's pages. */
export type GateVerdict =
  | { readonly kind: "admitted" }
  | {
      readonly kind: "refused";
      readonly status: 401 | 403 | 429;
      /** One line for the client. */
      readonly text: string;
      readonly retryAfterSeconds?: number;
    };

/** Decides who may see the pages that name sandboxes. */
export interface AdminGate {
  /** Whether a token is configured, so that clients can log in. */
  readonly hasToken: boolean;
  /** @param peer The address at the other end of the connection, from the system; empty: unknown. */
  judge(request: Request, peer: string): GateVerdict;
}

export interface AdminGateOptions {
  readonly token: AdminToken;
  /** Only its monotonic time is used. */
  readonly clock: Clock;
  readonly logger: Logger;
}

const ADMITTED: GateVerdict = Object.freeze({ kind: "admitted" });
const FOREIGN: GateVerdict = Object.freeze({
  kind: "refused",
  status: 403,
  text: "requests from other web pages are refused",
});
const NOT_LOCAL: GateVerdict = Object.freeze({
  kind: "refused",
  status: 403,
  text: "this page answers only on the machine itself: use a port forward and open it as localhost",
});
const NO_TOKEN: GateVerdict = Object.freeze({ kind: "refused", status: 401, text: "the admin token is missing" });
const WRONG_TOKEN: GateVerdict = Object.freeze({ kind: "refused", status: 401, text: "the admin token is wrong" });
const THROTTLED: GateVerdict = Object.freeze({
  kind: "refused",
  status: 429,
  text: "too many wrong tokens",
  retryAfterSeconds: GUESS_RETRY_SECONDS,
});

/**
 * Admits clients on this machine that call it by a loopback name, and clients with the token. Refuses everything that
 * another web page makes a browser send.
 */
export function createAdminGate({ token, clock, logger }: AdminGateOptions): AdminGate {
  const guesses = new LeakyBuckets({ clock, burst: GUESS_BURST, leakMs: GUESS_LEAK_MS, maxBuckets: GUESSERS_MAX });
  const siteGuesses = new LeakyBuckets({
    clock,
    burst: SITE_GUESS_BURST,
    leakMs: SITE_GUESS_LEAK_MS,
    maxBuckets: GUESSERS_MAX,
  });
  let warnedAtMs = Number.NEGATIVE_INFINITY;
  const noteGuess = ({ network, site }: ClientNetwork): void => {
    guesses.add(network);
    if (site !== undefined) siteGuesses.add(site);
    if (clock.monotonic() - warnedAtMs < WARNING_MS) return;
    warnedAtMs = clock.monotonic();
    logger.warn("clients send wrong tokens to the admin port", { client: network });
  };
  return {
    hasToken: token.isConfigured,
    judge(request, peer) {
      const { headers } = request;
      if (isForeign(request)) return FOREIGN;
      const address = parseAddress(peer) ?? "";
      if (OWN_PEERS.has(address) && isLoopbackHost(headers.get("host")) && !isForwarded(headers)) return ADMITTED;
      if (!token.isConfigured) return NOT_LOCAL;
      const shown = readToken(headers.get("authorization"));
      if (shown === undefined) return NO_TOKEN;
      const client = clientNetworkOf(address);
      if (guesses.isFull(client.network) || (client.site !== undefined && siteGuesses.isFull(client.site))) {
        return THROTTLED;
      }
      if (token.matches(shown)) return ADMITTED;
      noteGuess(client);
      return WRONG_TOKEN;
    },
  };
}

/**
 * Whether another web page makes the browser send this (Fetch Metadata; RFC 6454 §7). Programs send neither header.
 * Following a link to here is harmless, since the page with the link sees nothing.
 */
function isForeign({ method, headers }: Request): boolean {
  const origin = headers.get("origin");
  if (origin !== null && origin.replace(/^https?:\/\//i, "").toLowerCase() !== headers.get("host")?.toLowerCase()) {
    return true;
  }
  const site = headers.get("sec-fetch-site");
  if (site === null || site === "same-origin" || site === "none") return false;
  const isLink =
    (method === "GET" || method === "HEAD") &&
    headers.get("sec-fetch-mode") === "navigate" &&
    headers.get("sec-fetch-dest") === "document";
  return !isLink;
}

/**
 * Whether a `Host` is a loopback name or address. A page of a foreign name can also lead a browser here, with a DNS
 * record that changes to 127.0.0.1 (DNS rebinding). Then `Host` has the foreign name.
 */
export function isLoopbackHost(host: string | null): boolean {
  const [, bracketed, plain] = /^(?:\[([0-9a-f:.]{2,45})\]|([a-z0-9.]{1,20}))(?::\d{1,5})?$/i.exec(host ?? "") ?? [];
  if (plain?.toLowerCase() === "localhost") return true;
  const address = parseAddress(bracketed ?? plain ?? "");
  return address !== undefined && classifyAddress(address) === "loopback";
}

function isForwarded(headers: Headers): boolean {
  for (const name of headers.keys()) {
    if (PROXY_HEADERS.has(name) || PROXY_PREFIXES.some((prefix) => name.startsWith(prefix))) return true;
  }
  return false;
}

/** The token in `Authorization`: Bearer (RFC 6750 §2.1), or the password of Basic (RFC 7617 §2) with any user. */
function readToken(authorization: string | null): string | undefined {
  const [, scheme = "", credentials = ""] = /^([a-z]{1,10}) +(\S+) *$/i.exec(authorization ?? "") ?? [];
  if (scheme.toLowerCase() === "bearer") return credentials;
  if (scheme.toLowerCase() !== "basic") return undefined;
  const pair = Buffer.from(credentials, "base64").toString("utf8");
  const colon = pair.indexOf(":");
  return colon < 0 ? undefined : pair.slice(colon + 1);
}
