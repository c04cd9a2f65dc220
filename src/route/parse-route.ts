import { IngressError } from "../errors.ts";
import { parsePort } from "../values.ts";
import type { Route, RouteForm, RouteMode, RouteSignature } from "./route.ts";
import { isExpires, isSandboxId, isSignature, SANDBOX_ID_MAX_LENGTH } from "./route-syntax.ts";

/** Names the sandbox in header mode. It is removed before the sandbox gets the request (docs/contract.md §2). */
export const ROUTE_HEADER = "OpenSandbox-Ingress-To";

/** The deprecated spelling of `ROUTE_HEADER`, which takes precedence over this one. */
export const DEPRECATED_ROUTE_HEADER = "OPEN-SANDBOX-INGRESS";

/** The parts of a request that can name a sandbox. */
export interface RouteInput {
  /** The path to forward: normalised, begins with `/`, no query. */
  readonly path: string;
  readonly headers: Headers;
  /** The `Host` header as sent; empty if missing. Its own syntax is checked before routing. */
  readonly host: string;
}

/** Characters that must not follow a label: all but visible ASCII, and the comma. */
const INVALID_IN_TAIL = /[^!-+\--~]/;
const DOT = 0x2e;
const COLON = 0x3a;
/** Pieces of a path that can belong to a route: empty, id, port, expiry, signature. */
const PATH_PIECES = 5;

const HEADER_FORMS = `expected header ${ROUTE_HEADER}: <sandbox-id>-<port>, or Host: <sandbox-id>-<port>.<domain>`;
const URI_FORM = "expected path /<sandbox-id>/<port>/<rest>";
const PORT_RULE = "the port must be a number from 1 to 65535 without a leading zero";
const ID_RULE = `the sandbox id must be 1 to ${SANDBOX_ID_MAX_LENGTH} letters, digits or -._~!$&'()*+;=`;

/**
 * Finds the route of a request, by syntax alone (docs/contract.md §2).
 *
 * In header mode the first of `OpenSandbox-Ingress-To`, its deprecated spelling and `Host` that is not blank decides:
 * if it is invalid, the next one is not tried. In URI mode only the path is read. Header and URI forms are used as
 * sent. The host form is lower-cased as a whole, with its credential, because host names have no case (RFC 9110
 * §4.2.3). Nothing is percent-decoded.
 *
 * Takes time linear in the input's length: long texts are only searched, and patterns with repetition are anchored and
 * bounded. Throws IngressError: `route_missing` if nothing names a sandbox, `route_invalid` if the name of one breaks
 * the rules. Messages contain no client input.
 */
export function parseRoute(input: RouteInput, mode: RouteMode): Route {
  if (mode === "uri") return parseUriRoute(input.path);
  for (const name of [ROUTE_HEADER, DEPRECATED_ROUTE_HEADER]) {
    const value = trimBlanks(input.headers.get(name) ?? "");
    if (value !== "") return parseHostStyle(value, "header", input.path);
  }
  return parseHostStyle(trimBlanks(input.host.toLowerCase()), "host", input.path);
}

/**
 * Parses `[http[s]://]<label>[.<domain>][:<port>]`, where the label is `<id>-<port>` or
 * `<id>-<port>-<expires>-<signature>`. The part after the label is ignored, but must not contain white space or a
 * comma: a comma means that two field lines were joined.
 */
function parseHostStyle(value: string, form: RouteForm, path: string): Route {
  const hostAndPort = value.includes("//") ? value.replace(/^https?:\/\//i, "") : value;
  const labelEnd = endOfLabel(hostAndPort);
  if (labelEnd < hostAndPort.length && INVALID_IN_TAIL.test(hostAndPort.slice(labelEnd))) {
    throw invalid(`the value must be one host name; ${HEADER_FORMS}`);
  }
  const label = hostAndPort.slice(0, labelEnd);
  const plain = cutAtLastHyphen(label);
  if (plain === undefined) {
    // The request has no Host, or an address, or a plain name: it is for the ingress itself.
    if (form === "host") throw missing(HEADER_FORMS);
    throw invalid(`the port is missing; ${HEADER_FORMS}`);
  }
  const signed = isSignature(plain[1]) ? readSignedLabel(label) : undefined;
  const parts = signed ?? { id: plain[0], port: parsePort(plain[1]), signature: undefined };
  if (parts.port === undefined) throw invalid(`${PORT_RULE}; ${HEADER_FORMS}`);
  const { port, signature } = parts;
  return { form, sandboxId: checkSandboxId(parts.id), port, path, signature, signedPath: path, prefix: "" };
}

/** The first index of `.` or `:`, or the length of the text. */
function endOfLabel(hostAndPort: string): number {
  let end = 0;
  while (end < hostAndPort.length) {
    const code = hostAndPort.charCodeAt(end);
    if (code === DOT || code === COLON) return end;
    end++;
  }
  return end;
}

/** Undefined if the last three parts of the label are not port, expiry and signature. */
function readSignedLabel(label: string) {
  const [beforeSignature, digits] = cutAtLastHyphen(label) ?? [];
  const [beforeExpires, expiresB36] = cutAtLastHyphen(beforeSignature) ?? [];
  const [id, portText] = cutAtLastHyphen(beforeExpires) ?? [];
  const signature = toSignature(expiresB36, digits);
  const port = parsePort(portText ?? "");
  if (id === undefined || port === undefined || signature === undefined) return undefined;
  return { id, port, signature };
}

/** The text before and after the last hyphen; undefined without a hyphen. */
function cutAtLastHyphen(text = ""): readonly [before: string, after: string] | undefined {
  const at = text.lastIndexOf("-");
  return at < 0 ? undefined : [text.slice(0, at), text.slice(at + 1)];
}

/**
 * Parses `/<id>/<port>[/<rest>]`. If the rest begins with `<expires>/<signature>`, the route looks signed. The access
 * check decides whether these two are a credential or a part of the path, so the result has both paths.
 */
function parseUriRoute(path: string): Route {
  if (path.length < 2 || !path.startsWith("/")) throw missing(URI_FORM);
  const [, id = "", portText, expiresB36, digits] = path.split("/", PATH_PIECES);
  if (portText === undefined) throw invalid(`the port is missing; ${URI_FORM}`);
  const port = parsePort(portText);
  if (port === undefined) throw invalid(`${PORT_RULE}; ${URI_FORM}`);
  const sandboxId = checkSandboxId(id);
  const prefix = `/${id}/${portText}`;
  const plain = path.slice(prefix.length) || "/";
  const signature = toSignature(expiresB36, digits);
  const signedPath = signature === undefined ? plain : path.slice(`${prefix}/${expiresB36}/${digits}`.length) || "/";
  return { form: "uri", sandboxId, port, path: plain, signature, signedPath, prefix };
}

/** Undefined if the two texts are not an expiry and a signature. */
function toSignature(expiresB36 = "", signature = ""): RouteSignature | undefined {
  return isExpires(expiresB36) && isSignature(signature) ? { expiresB36, signature } : undefined;
}

function checkSandboxId(text: string): string {
  if (!isSandboxId(text)) throw invalid(ID_RULE);
  return text;
}

/** Removes SP and HTAB (RFC 9110 §5.6.3) at both ends. A regular expression would take quadratic time for the end. */
function trimBlanks(value: string): string {
  let start = 0;
  let end = value.length;
  while (start < end && isBlank(value.charAt(start))) start++;
  while (end > start && isBlank(value.charAt(end - 1))) end--;
  return value.slice(start, end);
}

function isBlank(char: string): boolean {
  return char === " " || char === "\t";
}

function missing(expected: string): IngressError {
  return new IngressError("route_missing", `no route in request; ${expected}`);
}

function invalid(reason: string): IngressError {
  return new IngressError("route_invalid", `invalid route: ${reason}`);
}
