import { createOriginSet } from "../../origin.ts";
import type { HeaderSnapshot } from "../request/headers.ts";
import { isListTooLong } from "../request/list-field.ts";
import { addVary } from "./vary.ts";

/** A method or the name of a header (RFC 9110 §5.6.2). Real ones are much shorter than the limit. */
const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,128}$/;

/**
 * The longest list of headers that a preflight may ask for, in characters. The list is repeated in the answer, so a
 * longer one would let anybody without access cause large answers.
 */
const ASKED_HEADERS_MAX_CHARS = 2_048;

/**
 * How long a browser may keep a preflight's answer, in seconds. Most requests then need no other preflight, and a
 * changed flag soon takes effect.
 */
const PREFLIGHT_MAX_AGE_SECONDS = 600;

/**
 * The headers that route and admit a request. They are always allowed, so that one kept answer serves every later
 * request to the same address.
 */
const INGRESS_HEADERS = ["OpenSandbox-Ingress-To", "OpenSandbox-Secure-Access", "OpenSandbox-Access-Renew"] as const;

/** What the answers to one request say about CORS if the sandbox says nothing. */
export interface CorsGrant {
  /** As the client sent it; undefined: it is missing or not allowed. */
  readonly origin: string | undefined;
}

/** `--cors-origins`. */
export interface CorsPolicy {
  /** @param origin The request's `Origin`. */
  decide(origin: string | undefined): CorsGrant;
}

const NOT_GRANTED: CorsGrant = Object.freeze({ origin: undefined });

/**
 * Creates the policy of `--cors-origins`; undefined: it allows nothing.
 * @param allowed Origins in the form that `parseOrigins` returns.
 */
export function createCorsPolicy(allowed: readonly string[]): CorsPolicy | undefined {
  if (allowed.length === 0) return undefined;
  const origins = createOriginSet(allowed);
  return {
    decide: (origin) => (origin !== undefined && origins.has(origin) ? { origin } : NOT_GRANTED),
  };
}

/** Whether a sandbox's answer says anything about CORS. If so, the ingress adds nothing. */
export function saysCors(seen: HeaderSnapshot): boolean {
  for (const name in seen) if (name.startsWith("access-control-")) return true;
  return false;
}

/**
 * Names the origin that may read an answer. `Vary` is added even if no origin may: a cache must not give that answer to
 * an origin that may read it (Fetch, "CORS protocol and HTTP caches").
 */
export function addCors(headers: Headers, grant: CorsGrant): void {
  if (grant.origin !== undefined) headers.set("Access-Control-Allow-Origin", grant.origin);
  addVary(headers, ["Origin"]);
}

/** Whether a request asks what may be sent, by the Fetch standard's "CORS-preflight request". */
export function isPreflight(method: string, seen: HeaderSnapshot): boolean {
  return method === "OPTIONS" && seen["origin"] !== undefined && seen["access-control-request-method"] !== undefined;
}

/**
 * The answer to a preflight that no sandbox can answer, since a browser sends neither route nor credential along: what is asked for
 * is allowed, cookies are not. It tells nothing of any sandbox.
 *
 * Undefined: the origin is not allowed, or what is asked for is not a list of at most `LIST_ELEMENTS_MAX` names.
 */
export function answerPreflight(seen: HeaderSnapshot, { origin }: CorsGrant): Response | undefined {
  const method = seen["access-control-request-method"] ?? "";
  const asked = seen["access-control-request-headers"] ?? "";
  if (origin === undefined || !TOKEN.test(method)) return undefined;
  if (asked.length > ASKED_HEADERS_MAX_CHARS || isListTooLong(asked)) return undefined;
  const names = asked.split(",").flatMap((name) => (name.trim() === "" ? [] : [name.trim()]));
  if (!names.every((name) => TOKEN.test(name))) return undefined;
  const known = new Set(names.map((name) => name.toLowerCase()));
  const missing = INGRESS_HEADERS.filter((name) => !known.has(name.toLowerCase()));
  return new Response(null, {
    status: 204,
    headers: {
      "Access-Control-Allow-Origin": origin,
      "Access-Control-Allow-Methods": method,
      "Access-Control-Allow-Headers": [...names, ...missing].join(", "),
      "Access-Control-Max-Age": String(PREFLIGHT_MAX_AGE_SECONDS),
      "Cache-Control": "no-store",
      Vary: "Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
    },
  });
}
