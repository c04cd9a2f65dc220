import { IngressError } from "../../errors.ts";
import type { ClientAddress } from "./client-address.ts";
import { isListTooLong, LIST_ELEMENTS_MAX } from "./list-field.ts";
import { addPass, LOOP_HEADER } from "./loop-guard.ts";
import { REQUEST_ID_HEADER } from "./request-id.ts";
import { stripForwardedCredentials, stripHostCredentials, stripUrlCredentials } from "./route-credentials.ts";

/** Meant for the ingress: removed before the sandbox sees the request (docs/contract.md §2). */
export const PRIVATE_REQUEST_HEADERS = [
  "opensandbox-ingress-to",
  "open-sandbox-ingress",
  "opensandbox-secure-access",
  "opensandbox-access-renew",
] as const;

/** RFC 9110 §7.6.1, and `Proxy-Connection`, which some clients still send. */
const HOP_BY_HOP_HEADERS = ["connection", "keep-alive", "proxy-connection", "te", "trailer", "upgrade"] as const;

/**
 * Meant for the first proxy that asks for it, never for the sandbox (RFC 9110 §11.7.2).
 * `Expect` is answered by Bun itself; Host and framing are written by `fetch` for the new connection.
 */
const REPLACED_REQUEST_HEADERS = ["proxy-authorization", "expect", "host", "transfer-encoding"] as const;

const REMOVED_REQUEST_HEADERS: ReadonlySet<string> = new Set([
  ...HOP_BY_HOP_HEADERS,
  ...REPLACED_REQUEST_HEADERS,
  ...PRIVATE_REQUEST_HEADERS,
]);

/**
 * A sandbox is no proxy of the client's: its `Proxy-Authenticate` would make a browser ask for a password in the name of
 * the ingress (RFC 9110 §11.7.1, §11.7.3). Framing is written by Bun for the client's connection.
 */
const REMOVED_ANSWER_HEADERS = [
  ...HOP_BY_HOP_HEADERS,
  "transfer-encoding",
  "proxy-authenticate",
  "proxy-authentication-info",
] as const;

/**
 * Headers of a policy gateway, which speaks to the sandbox in its own name: a client's never pass
 * (docs/contract.md §9).
 */
const POLICY_PREFIX = "x-osb-";

/** With `Forwarded` and `X-Real-IP` all that tells where a request comes from. */
const FORWARDED_PREFIX = "x-forwarded-";

/**
 * What a `Connection` header must not be able to remove: framing belongs to `fetch`, and a request without its
 * Content-Length would be framed in another way than it was checked; without `CDN-Loop` a loop would never end.
 */
const NOT_CONNECTION_OPTIONS: ReadonlySet<string> = new Set([
  "content-length",
  "transfer-encoding",
  "host",
  LOOP_HEADER,
]);

/** The header that each proxied answer carries exactly once (docs/contract.md §5). */
const POWERED_BY = "Reverse-Proxy-Server-PowerBy";
const POWERED_BY_VALUE = "OpenSandbox-ingress";

/**
 * Names, values and separators of a sandbox's answer, in bytes. Bun takes about 1 MiB, which costs a hundred times an
 * ordinary head; servers in use stop at 8 to 32 KiB, and the default of a request's head is the same 64 KiB.
 */
export const ANSWER_HEAD_MAX_BYTES = 65_536;

/** `: ` and the line end. */
const FIELD_SEPARATORS_BYTES = 4;

/** What goes into a request besides its own headers. */
export interface ForwardedContext {
  readonly address: ClientAddress;
  /** The Host as the client sent it; empty: there is none. */
  readonly host: string;
  /** `/<id>/<port>` in the URI form, else empty; undefined: the path keeps it, and no prefix is told. */
  readonly prefix: string | undefined;
  readonly requestId: string;
}

/**
 * All headers of a message as a plain object: taken once, it costs as much as one look into `Headers`, and looking into it
 * costs next to nothing. Names are lower-case.
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
 * Turns the client's headers into the sandbox's, in place: a copy costs a third of the throughput. First everything that
 * does not pass is removed, then what the ingress itself says is set, from what is left.
 * @param seen The headers as they are; `checkConnectionOptions` has passed them.
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
  stripOwnUrls(headers, { referer: left("referer"), origin: left("origin"), host: context.host });
  // fetch would put the name of Bun where this is missing; empty is the closest that it can do to none.
  if (left("user-agent") === undefined) headers.set("user-agent", "");
  // Said outright, it means the same as none (RFC 9110 §12.5.1); an empty one would mean that nothing is acceptable.
  if (left("accept") === undefined) headers.set("accept", "*/*");
}

/**
 * Turns the sandbox's headers into the client's, in place. Gives the headers as they were.
 * Throws `upstream_protocol` for a head that is work made for us: over `ANSWER_HEAD_MAX_BYTES`, or with more than
 * `LIST_ELEMENTS_MAX` connection options. The caller must tear the answer then.
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
  const named = readConnectionOptions(connection);
  if (named !== undefined) for (const name of named) if (seen[name] !== undefined) headers.delete(name);
  for (const name of REMOVED_ANSWER_HEADERS) if (seen[name] !== undefined) headers.delete(name);
  headers.set(POWERED_BY, POWERED_BY_VALUE);
  if (seen[REQUEST_ID_HEADER] === undefined || named?.has(REQUEST_ID_HEADER) === true) {
    headers.set(REQUEST_ID_HEADER, options.requestId);
  }
  if (options.closeConnection) headers.set("connection", "close");
  return seen;
}

/**
 * Turns rewritten headers into the client's again, in place.
 * @param seen The headers before they were rewritten.
 */
export function restoreHeaders(headers: Headers, seen: HeaderSnapshot): void {
  for (const name in headers.toJSON()) if (seen[name] === undefined) headers.delete(name);
  for (const [name, value] of Object.entries(seen)) if (value !== undefined) headers.set(name, value);
}

/** The bytes of a head, without its first line. */
function measureHead(seen: HeaderSnapshot): number {
  let bytes = 0;
  for (const name in seen) {
    const overhead = name.length + FIELD_SEPARATORS_BYTES;
    // Bun gives the cookies as a list, whatever its types say.
    const value: unknown = seen[name];
    if (typeof value === "string") bytes += overhead + value.length;
    else if (Array.isArray(value)) for (const line of value) bytes += overhead + String(line).length;
  }
  return bytes;
}

/** The headers that `Connection` removes (RFC 9110 §7.6.1), in lower case; undefined: none. */
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
 * One list for what tells of the client's side. Nothing of vendors (`CF-Connecting-IP`, `X-Original-URL`): those contradict
 * nothing that we say, pass as any other end-to-end header (docs/contract.md §2), and are believed only where somebody
 * asked for it.
 */
function isForwardingHeader(name: string): boolean {
  return name.startsWith(FORWARDED_PREFIX) || name === "forwarded" || name === "x-real-ip";
}

/**
 * CGI and WSGI see no difference between `X_Forwarded_For` and `X-Forwarded-For` (CVE-2015-0219): what we would remove
 * does not pass under the other spelling either. No proxy writes it so, trusted or not.
 */
function isDisguised(hyphenated: string): boolean {
  return (
    isForwardingHeader(hyphenated) ||
    hyphenated.startsWith(POLICY_PREFIX) ||
    (PRIVATE_REQUEST_HEADERS as readonly string[]).includes(hyphenated)
  );
}

/** @param told What the peer says, by name, where it is believed. */
function setForwarded(headers: Headers, told: (name: string) => string | undefined, context: ForwardedContext): void {
  const previous = told("x-forwarded-for") ?? "";
  const { peer } = context.address;
  headers.set("x-forwarded-for", previous === "" ? peer : `${previous}, ${peer}`);
  if ((told("x-forwarded-host") ?? "") === "") headers.set("x-forwarded-host", stripHostCredentials(context.host));
  if ((told("x-forwarded-proto") ?? "") === "") headers.set("x-forwarded-proto", "http");
  if (context.prefix === undefined) {
    headers.delete("x-forwarded-prefix");
    return;
  }
  const prefix = joinPrefix(stripForwardedCredentials(told("x-forwarded-prefix") ?? ""), context.prefix);
  if (prefix !== "") headers.set("x-forwarded-prefix", prefix);
}

/** A trusted proxy that removed a prefix of its own stands before ours: the client's path began with both. */
function joinPrefix(outer: string, own: string): string {
  return outer.endsWith("/") ? outer.slice(0, -1) + own : outer + own;
}

/**
 * `Referer` loses the credentials of signed routes. So does an `Origin` that is the request's own host: applications
 * compare it with `X-Forwarded-Host`. Another `Origin` stays, or the sandbox could not name it in its CORS headers.
 */
function stripOwnUrls(
  headers: Headers,
  urls: { readonly referer: string | undefined; readonly origin: string | undefined; readonly host: string },
): void {
  const { referer, origin, host } = urls;
  if (referer !== undefined) stripField(headers, "referer", { value: referer, strip: stripUrlCredentials });
  if (origin !== undefined && isOriginOf(origin, host)) {
    stripField(headers, "origin", { value: origin, strip: stripUrlCredentials });
  }
}

/** Whether `origin` is `<scheme>://<host>`; hosts have no case. */
function isOriginOf(origin: string, host: string): boolean {
  const scheme = origin.indexOf("://");
  return scheme > 0 && origin.slice(scheme + "://".length).toLowerCase() === host.toLowerCase();
}

/** Sets a field anew where its value carries a credential: mostly none does. */
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
