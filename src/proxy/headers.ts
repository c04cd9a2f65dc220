import type { ClientAddress } from "./client-address.ts";

/** Names that are removed from a request in addition to the hop-by-hop ones: meant for the ingress (contract §2). */
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

const REMOVED_REQUEST_HEADERS = [...REPLACED_REQUEST_HEADERS, ...PRIVATE_REQUEST_HEADERS];

/**
 * What a `Connection` header must not be able to remove: framing belongs to `fetch`, and a request without its
 * Content-Length would be framed in another way than it was checked.
 */
const NOT_CONNECTION_OPTIONS: ReadonlySet<string> = new Set(["content-length", "transfer-encoding", "host"]);

/** The header that each proxied answer carries exactly once (contract §5). */
const POWERED_BY = "Reverse-Proxy-Server-PowerBy";
const POWERED_BY_VALUE = "OpenSandbox-ingress";

/** What goes into the `X-Forwarded-*` headers of a request. */
export interface ForwardedContext {
  readonly address: ClientAddress;
  /** The Host as the client sent it. */
  readonly host: string;
  /** `/<id>/<port>` in the URI form, else empty. */
  readonly prefix: string;
}

/**
 * All headers of a message as a plain object: taken once, it costs as much as one look into `Headers`, and looking into it
 * costs next to nothing. Names are lower-case.
 */
export type HeaderSnapshot = Readonly<Record<string, string | undefined>>;

/**
 * Turns the client's headers into the sandbox's, in place: a copy costs a third of the throughput.
 * @param seen The headers as they are.
 */
export function rewriteRequestHeaders(headers: Headers, seen: HeaderSnapshot, context: ForwardedContext): void {
  removeHopByHop(headers, seen);
  for (const name of REMOVED_REQUEST_HEADERS) if (seen[name] !== undefined) headers.delete(name);
  setForwarded(headers, seen, context);
  // fetch would put names of its own where these are missing; empty is the closest that it can do to none.
  if (seen["user-agent"] === undefined) headers.set("user-agent", "");
  if (seen["accept"] === undefined) headers.set("accept", "");
}

/** Turns the sandbox's headers into the client's, in place. */
export function rewriteResponseHeaders(headers: Headers, options: { readonly closeConnection: boolean }): void {
  const seen: HeaderSnapshot = headers.toJSON();
  removeHopByHop(headers, seen);
  if (seen["transfer-encoding"] !== undefined) headers.delete("transfer-encoding");
  headers.set(POWERED_BY, POWERED_BY_VALUE);
  if (options.closeConnection) headers.set("connection", "close");
}

/** Removes the hop-by-hop headers and those that `Connection` names (RFC 9110 §7.6.1). */
function removeHopByHop(headers: Headers, seen: HeaderSnapshot): void {
  const connection = seen["connection"];
  if (connection !== undefined && connection !== "keep-alive" && connection !== "close") {
    for (const option of connection.split(",")) {
      const name = option.trim().toLowerCase();
      if (isHeaderName(name) && !NOT_CONNECTION_OPTIONS.has(name)) headers.delete(name);
    }
  }
  for (const name of HOP_BY_HOP_HEADERS) if (seen[name] !== undefined) headers.delete(name);
}

/** Whether a comma-separated header such as `Connection` or `Upgrade` lists `token`, in whatever case. */
export function hasToken(value: string | undefined, token: string): boolean {
  if (value === undefined) return false;
  if (value === token) return true;
  return value.split(",").some((part) => part.trim().toLowerCase() === token);
}

function setForwarded(headers: Headers, seen: HeaderSnapshot, context: ForwardedContext): void {
  const { peer, peerTrusted } = context.address;
  const told = (name: string): string => (peerTrusted ? (seen[name] ?? "") : "");
  const previous = told("x-forwarded-for");
  headers.set("x-forwarded-for", previous === "" ? peer : `${previous}, ${peer}`);
  if (told("x-forwarded-host") === "") headers.set("x-forwarded-host", context.host);
  if (told("x-forwarded-proto") === "") headers.set("x-forwarded-proto", "http");
  const prefix = joinPrefix(told("x-forwarded-prefix"), context.prefix);
  if (prefix !== "") headers.set("x-forwarded-prefix", prefix);
  else if (seen["x-forwarded-prefix"] !== undefined) headers.delete("x-forwarded-prefix");
}

/** A trusted proxy that removed a prefix of its own stands before ours: the client's path began with both. */
function joinPrefix(outer: string, own: string): string {
  return outer.endsWith("/") ? outer.slice(0, -1) + own : outer + own;
}

function isHeaderName(text: string): boolean {
  return /^[!#$%&'*+\-.^_`|~0-9a-z]+$/.test(text);
}
