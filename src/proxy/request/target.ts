import { IngressError } from "../../errors.ts";

/** A request's target in the one form that is both routed and forwarded. */
export interface RequestTarget {
  /**
   * Begins with `/` and has no query. Bun has normalised it: dot segments are removed, and unusual bytes are
   * percent-encoded.
   */
  readonly path: string;
  /** Empty, or begins with `?`; otherwise as the client sent it. */
  readonly query: string;
}

/**
 * Splits the URL that `Bun.serve` gives for a request, by slicing. A second parser could disagree with the first.
 *
 * `url` is `http://<Host><path>`, the same with `https:`, or only the path if the Host is empty or missing. Bun does
 * not normalise that form, but `fetch` would, and the path that is routed must be the path that is sent. Throws
 * `request_invalid` for a fragment: RFC 9112 §3.2 does not allow it, and `fetch` would drop it silently.
 */
export function parseRequestTarget(url: string): RequestTarget {
  if (url.charCodeAt(0) === SLASH) return parseRequestTarget(normalise(url));
  const pathStart = url.indexOf("/", url.indexOf("//") + "//".length);
  if (pathStart < 0) throw new IngressError("request_invalid", "invalid request target");
  if (url.includes("#", pathStart)) {
    throw new IngressError("request_invalid", "a request target must not have a fragment");
  }
  const queryStart = url.indexOf("?", pathStart);
  if (queryStart < 0) return { path: url.slice(pathStart), query: "" };
  return { path: url.slice(pathStart, queryStart), query: url.slice(queryStart) };
}

/** Returns a path and query in the form that Bun uses for those of other requests. */
function normalise(pathAndQuery: string): string {
  const url = URL.parse(ANY_ORIGIN + pathAndQuery);
  if (url === null) throw new IngressError("request_invalid", "invalid request target");
  return url.href;
}

/**
 * The path as `fetch` will send it: `fetch` turns several slashes at the beginning into one. Doing it here makes logs
 * and reports show what the sandbox sees.
 */
export function collapseLeadingSlashes(path: string): string {
  let start = 0;
  while (path.charCodeAt(start + 1) === SLASH) start++;
  return start === 0 ? path : path.slice(start);
}

/**
 * The Host header of a request, or empty if it is missing (HTTP/1.0 only).
 *
 * Throws `host_invalid` unless it is one `host[:port]` of RFC 9112 §3.2, with only the characters of names and
 * addresses. Two Host headers arrive joined by a comma, and `user@host` or `host/path` would move the beginning of the
 * path. It must also be a valid host of a URL (WHATWG). With `x:99999`, `1.2.3.4.5` or `[:::]` Bun does not normalise
 * the path, dot segments included, and `fetch` would send another path than the one that is routed.
 */
export function parseHost(host: string | undefined): string {
  if (host === undefined || host === "") return "";
  if (host === lastValid.host) return host;
  const portStart = host.charCodeAt(0) === BRACKET_OPEN ? checkIpLiteral(host) : checkName(host);
  for (let i = portStart; i < host.length; i++) {
    const isColon = i === portStart && host.charCodeAt(i) === COLON;
    if (!isColon && !isDigit(host.charCodeAt(i))) throw new IngressError("host_invalid");
  }
  if (host.length - portStart > MAX_PORT_CHARS) throw new IngressError("host_invalid");
  if (!URL.canParse(`http://${host}/`)) throw new IngressError("host_invalid");
  lastValid.host = host;
  return host;
}

/** The last host that was found valid. Most requests name the same one, and this check costs more than the others. */
const lastValid = { host: "" };

/** Checks the name before an optional `:port` and returns where the port begins. */
function checkName(host: string): number {
  let i = 0;
  while (i < host.length && host.charCodeAt(i) !== COLON) {
    if (HOST_CHARS[host.charCodeAt(i)] !== 1) throw new IngressError("host_invalid");
    i++;
  }
  if (i === 0) throw new IngressError("host_invalid");
  return i;
}

/** Checks `[…]` and returns the index behind it. Its content is only compared, never dialled. */
function checkIpLiteral(host: string): number {
  const end = host.indexOf("]");
  if (end < 0 || !/^\[[0-9A-Fa-f:.]+\]$/.test(host.slice(0, end + 1))) throw new IngressError("host_invalid");
  return end + 1;
}

function isDigit(code: number): boolean {
  return code >= 48 && code <= 57;
}

const ANY_ORIGIN = "http://own.invalid";
const SLASH = 0x2f;
const COLON = 0x3a;
const BRACKET_OPEN = 0x5b;
/** By character code: 1 for the unreserved characters of RFC 3986. */
const HOST_CHARS = Uint8Array.from({ length: 128 }, (_, code) =>
  /[A-Za-z0-9._~-]/.test(String.fromCharCode(code)) ? 1 : 0,
);
/** A colon and at most five digits. */
const MAX_PORT_CHARS = 6;
