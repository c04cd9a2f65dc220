import { IngressError } from "../../errors.ts";
import type { ClientAddress } from "./client-address.ts";
import type { Door } from "./door.ts";
import { isListTooLong, LIST_ELEMENTS_MAX } from "./list-field.ts";
import { addPass, LOOP_HEADER } from "./loop-guard.ts";
import { REQUEST_ID_HEADER } from "./request-id.ts";
import { stripForwardedCredentials, stripHostCredentials, stripUrlCredentials } from "./route-credentials.ts";

/** Headers for the ingress itself. The sandbox must not see them (docs/contract.md §2). */
export const PRIVATE_REQUEST_HEADERS = [
  "opensandbox-ingress-to",
  "open-sandbox-ingress",
  "opensandbox-secure-access",
  "opensandbox-access-renew",
] as const;

/** RFC 9110 §7.6.1, and `Proxy-Connection`, which some clients still send. */
const HOP_BY_HOP_HEADERS = ["connection", "keep-alive", "proxy-connection", "te", "trailer", "upgrade"] as const;

/**
 * Never forwarded. `Proxy-Authorization` is for the first proxy that asks for it (RFC 9110 §11.7.2). Bun itself answers
 * `Expect`. `fetch` writes Host and framing for the new connection. `Proxy` means nothing in HTTP, but CGI passes it to
 * programs as `HTTP_PROXY`, and these send their requests there (CVE-2016-5385 and similar).
 */
const REPLACED_REQUEST_HEADERS = ["proxy-authorization", "expect", "host", "transfer-encoding", "proxy"] as const;

const REMOVED_REQUEST_HEADERS: ReadonlySet<string> = new Set([
  ...HOP_BY_HOP_HEADERS,
  ...REPLACED_REQUEST_HEADERS,
  ...PRIVATE_REQUEST_HEADERS,
]);

/**
 * Orders to a server in front: deliver this file or that internal location instead of the answer. nginx obeys the first
 * by default. Others obey if that is turned on (Apache and lighttpd, h2o). A sandbox has no such server. The server in
 * front of the ingress would give it what only that server may read.
 */
const DELIVERY_HEADERS = ["x-accel-redirect", "x-sendfile", "x-lighttpd-send-file", "x-reproxy-url"] as const;

/**
 * A sandbox is not a proxy of the client. Its `Proxy-Authenticate` would make a browser ask for a password in the name
 * of the ingress (RFC 9110 §11.7.1, §11.7.3). Bun writes the framing for the client's connection.
 */
const REMOVED_ANSWER_HEADERS: ReadonlySet<string> = new Set([
  ...HOP_BY_HOP_HEADERS,
  "transfer-encoding",
  "proxy-authenticate",
  "proxy-authentication-info",
  ...DELIVERY_HEADERS,
]);

/**
 * Headers of a policy gateway, which speaks to the sandbox for itself. A client must not send them to a sandbox
 * (docs/contract.md §9).
 */
const POLICY_PREFIX = "x-osb-";

/** Headers with this prefix, `Forwarded` and `X-Real-IP` tell where a request comes from. */
const FORWARDED_PREFIX = "x-forwarded-";

/**
 * Headers that `Connection` must not remove. Framing belongs to `fetch`: a request without its Content-Length would be
 * framed differently from what was checked. Without `CDN-Loop` a loop would never end. Without its key, Bun could not
 * finish a handshake that the sandbox has accepted.
 */
const NOT_CONNECTION_OPTIONS: ReadonlySet<string> = new Set([
  "content-length",
  "transfer-encoding",
  "host",
  "sec-websocket-key",
  "sec-websocket-version",
  LOOP_HEADER,
]);

/** Every proxied answer carries this header exactly once (docs/contract.md §5). */
const POWERED_BY = "Reverse-Proxy-Server-PowerBy";
const POWERED_BY_VALUE = "OpenSandbox-ingress";

/**
 * The largest head of a sandbox's answer: names, values and separators, in bytes. Bun takes about 1 MiB, which costs a
 * hundred times as much as an ordinary head. Common servers stop at 8 to 32 KiB. The default limit for a request's head
 * is the same.
 */
export const ANSWER_HEAD_MAX_BYTES = 65_536;

/** `: ` and the line end. */
const FIELD_SEPARATORS_BYTES = 4;

/** What a request gets besides its own headers. */
export interface ForwardedContext {
  readonly address: ClientAddress;
  /** The Host as the client sent it; empty: missing. */
  readonly host: string;
  /**
   * `/<id>/<port>` in the URI form, else empty; undefined: the path keeps its prefix, and the sandbox gets no header
   * with it.
   */
  readonly prefix: string | undefined;
  /** How the client speaks to this ingress. */
  readonly scheme: Door["scheme"];
  readonly requestId: string;
}

/**
 * All headers of a message as a plain object, with names in lower case. Making it costs as much as one look into
 * `Headers`; reading it costs next to nothing.
 */
export type HeaderSnapshot = Readonly<Record<string, string | undefined>>;

/** Throws `request_invalid` for a request whose `Connection` lists more than `LIST_ELEMENTS_MAX` options. */
export function checkConnectionOptions(seen: HeaderSnapshot): void {
  const connection = seen["connection"];
  if (connection !== undefined && isListTooLong(connection)) {
    throw new IngressError("request_invalid", `more than ${LIST_ELEMENTS_MAX} connection options`);
  }
}

/**
 * Turns the client's headers into the sandbox's, in place, since a copy costs a third of the throughput. It first
 * removes everything that must not pass. Then it sets the ingress's own headers from what is left.
 * @param seen The headers as they are. `checkConnectionOptions` has accepted them.
 */
export function rewriteRequestHeaders(headers: Headers, seen: HeaderSnapshot, context: ForwardedContext): void {
  const { peerTrusted } = context.address;
  const named = readConnectionOptions(seen["connection"]);
  const left = (name: string): string | undefined => (named?.has(name) === true ? undefined : seen[name]);
  for (const name in seen) {
    if (named?.has(name) === true || isRemoved(name, peerTrusted)) headers.delete(name);
    else if (peerTrusted && isForwardingHeader(name))
      stripField(headers, name, { value: seen[name] ?? "", strip: stripForwardedCredentials });
  }
  setForwarded(headers, peerTrusted ? left : nothing, context);
  headers.set(LOOP_HEADER, addPass(seen[LOOP_HEADER]));
  headers.set(REQUEST_ID_HEADER, context.requestId);
  const toldHost = peerTrusted ? left("x-forwarded-host") : undefined;
  stripOwnUrls(headers, { referer: left("referer"), origin: left("origin"), hosts: [context.host, toldHost] });
  // If this is missing, fetch adds the name of Bun. An empty value is the closest to a missing one.
  if (left("user-agent") === undefined) headers.set("user-agent", "");
  // A missing `Accept` means the same as `*/*` (RFC 9110 §12.5.1), but fetch would add its own. An empty one would mean
  // that nothing is acceptable.
  if (left("accept") === undefined) headers.set("accept", "*/*");
}

/**
 * Turns the sandbox's headers into the client's, in place. Returns the headers as they were.
 * Throws `upstream_protocol` for a head that is too expensive: more than `ANSWER_HEAD_MAX_BYTES`, or more than
 * `LIST_ELEMENTS_MAX` connection options. Throws it also for a transfer coding that nobody has decoded, whose bytes
 * would be taken for the content (RFC 9112 §7). The caller must then tear down the answer.
 */
export function rewriteResponseHeaders(
  headers: Headers,
  options: { readonly closeConnection: boolean; readonly requestId: string },
): HeaderSnapshot {
  const seen: HeaderSnapshot = headers.toJSON();
  if (measureHead(seen) > ANSWER_HEAD_MAX_BYTES) {
    throw new IngressError("upstream_protocol", undefined, { cause: "the head of the answer is too large" });
  }
  const connection = seen["connection"];
  if (connection !== undefined && isListTooLong(connection)) {
    throw new IngressError("upstream_protocol", undefined, { cause: "the answer has too many connection options" });
  }
  const coding = seen["transfer-encoding"];
  if (coding !== undefined && !KNOWN_CODING.test(coding)) {
    throw new IngressError("upstream_protocol", undefined, { cause: "the answer has an unknown transfer coding" });
  }
  const named = readConnectionOptions(connection);
  if (named !== undefined) for (const name of named) if (seen[name] !== undefined) headers.delete(name);
  for (const name in seen) if (REMOVED_ANSWER_HEADERS.has(name)) headers.delete(name);
  headers.set(POWERED_BY, POWERED_BY_VALUE);
  if (seen[REQUEST_ID_HEADER] === undefined || named?.has(REQUEST_ID_HEADER) === true) {
    headers.set(REQUEST_ID_HEADER, options.requestId);
  }
  if (options.closeConnection) headers.set("connection", "close");
  return seen;
}

/**
 * Restores the client's headers after they were rewritten, in place.
 * @param seen The headers before they were rewritten.
 */
export function restoreHeaders(headers: Headers, seen: HeaderSnapshot): void {
  for (const name in headers.toJSON()) if (seen[name] === undefined) headers.delete(name);
  for (const [name, value] of Object.entries(seen)) if (value !== undefined) headers.set(name, value);
}
/** `identity` once meant "no coding" (RFC 2616 §3.6). */
const KNOWN_CODING = /^(?:chunked|identity)$/i;

/** The size of a head in bytes, without its first line. */
function measureHead(seen: HeaderSnapshot): number {
  let bytes = 0;
  for (const name in seen) {
    const overhead = name.length + FIELD_SEPARATORS_BYTES;
    // Bun returns cookies as a list, although its types say otherwise.
    const value: unknown = seen[name];
    if (typeof value === "string") bytes += overhead + value.length;
    else if (Array.isArray(value)) for (const line of value) bytes += overhead + String(line).length;
  }
  return bytes;
}

/** The headers that `Connection` removes (RFC 9110 §7.6.1), in lower case; undefined: it removes nothing. */
function readConnectionOptions(connection: string | undefined): ReadonlySet<string> | undefined {
  if (connection === undefined || connection === "keep-alive" || connection === "close") return undefined;
  const options = new Set<string>();
  for (const option of connection.split(",", LIST_ELEMENTS_MAX)) {
    const name = option.trim().toLowerCase();
    if (!NOT_CONNECTION_OPTIONS.has(name)) options.add(name);
  }
  return options;
}

function isRemoved(name: string, peerTrusted: boolean): boolean {
  if (REMOVED_REQUEST_HEADERS.has(name) || name.startsWith(POLICY_PREFIX)) return true;
  if (!peerTrusted && isForwardingHeader(name)) return true;
  return name.includes("_") && isDisguised(name.replaceAll("_", "-"));
}

/**
 * The one list of headers that describe the client's side. Headers of vendors (`CF-Connecting-IP`, `X-Original-URL`)
 * are not in it. They contradict nothing that the ingress sends, so they pass like any other end-to-end header
 * (docs/contract.md §2). An application believes them only if its operator configured that.
 */
function isForwardingHeader(name: string): boolean {
  return name.startsWith(FORWARDED_PREFIX) || name === "forwarded" || name === "x-real-ip";
}

/**
 * CGI and WSGI treat `X_Forwarded_For` and `X-Forwarded-For` as the same header (CVE-2015-0219). So headers that the
 * ingress removes or writes itself are also removed under this spelling. No proxy writes it that way, trusted or not.
 * For a server that takes `Content_Length` for the length, a body would end at another byte than the ingress knows,
 * within the next request of the connection.
 */
function isDisguised(hyphenated: string): boolean {
  return (
    isForwardingHeader(hyphenated) ||
    hyphenated.startsWith(POLICY_PREFIX) ||
    hyphenated === REQUEST_ID_HEADER ||
    REMOVED_REQUEST_HEADERS.has(hyphenated) ||
    NOT_CONNECTION_OPTIONS.has(hyphenated)
  );
}

/** @param told Returns the peer's value for a header, if the peer is trusted. */
function setForwarded(headers: Headers, told: (name: string) => string | undefined, context: ForwardedContext): void {
  const previous = told("x-forwarded-for") ?? "";
  const { peer } = context.address;
  headers.set("x-forwarded-for", previous === "" ? peer : `${previous}, ${peer}`);
  if ((told("x-forwarded-host") ?? "") === "") headers.set("x-forwarded-host", stripHostCredentials(context.host));
  if ((told("x-forwarded-proto") ?? "") === "") headers.set("x-forwarded-proto", context.scheme);
  if (context.prefix === undefined) {
    headers.delete("x-forwarded-prefix");
    return;
  }
  const prefix = joinPrefix(stripForwardedCredentials(told("x-forwarded-prefix") ?? ""), context.prefix);
  if (prefix !== "") headers.set("x-forwarded-prefix", prefix);
}

/**
 * A trusted proxy that removed its own prefix is in front of this ingress. So the client's path began with both
 * prefixes.
 */
function joinPrefix(outer: string, own: string): string {
  return outer.endsWith("/") ? outer.slice(0, -1) + own : outer + own;
}

/**
 * Removes the credentials of signed routes from `Referer`. Does the same to an `Origin` that is the client's own, as
 * Host or a trusted proxy names it, since applications compare it with `X-Forwarded-Host`. Any other `Origin` stays, or
 * the sandbox could not name it in its CORS headers.
 */
function stripOwnUrls(
  headers: Headers,
  urls: {
    readonly referer: string | undefined;
    readonly origin: string | undefined;
    readonly hosts: readonly (string | undefined)[];
  },
): void {
  const { referer, origin, hosts } = urls;
  if (referer !== undefined) stripField(headers, "referer", { value: referer, strip: stripUrlCredentials });
  if (origin !== undefined && hosts.some((host) => host !== undefined && isOriginOf(origin, host))) {
    stripField(headers, "origin", { value: origin, strip: stripUrlCredentials });
  }
}

/**
 * Whether `origin` is `<scheme>://<host>`. Hosts are compared without case, and an origin has no default port. Only the
 * first host of a list counts.
 */
function isOriginOf(origin: string, host: string): boolean {
  const scheme = origin.indexOf("://");
  if (scheme <= 0) return false;
  const [first = ""] = host.split(",", 1);
  const own = first.trim().toLowerCase();
  const named = origin.slice(scheme + "://".length).toLowerCase();
  return named === own || named === own.replace(/:(?:80|443)$/, "");
}

/** Sets a field again if its value carries a credential. Most values do not. */
function stripField(
  headers: Headers,
  name: string,
  field: { readonly value: string; readonly strip: (value: string) => string },
): void {
  const stripped = field.strip(field.value);
  if (stripped !== field.value) headers.set(name, stripped);
}

function nothing(): undefined {
  return undefined;
}
