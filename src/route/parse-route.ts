import { IngressError } from "../errors.ts";
import type { Route, RouteForm, RouteMode, RouteSignature } from "./route.ts";
import {
  endsLabel,
  isExpires,
  isSandboxIdCode,
  isSignature,
  parsePort,
  SANDBOX_ID_MAX_LENGTH,
  SIGNATURE_LENGTH,
} from "./route-syntax.ts";

/** Names the sandbox in header mode; removed before the sandbox sees the request (docs/contract.md §2). */
export const ROUTE_HEADER = "OpenSandbox-Ingress-To";

/** The deprecated spelling of `ROUTE_HEADER`, which goes before it. */
export const DEPRECATED_ROUTE_HEADER = "OPEN-SANDBOX-INGRESS";

/** What of a request can name a sandbox. */
export interface RouteInput {
  /** The path as it will be forwarded: normalised, begins with `/`, no query. */
  readonly path: string;
  readonly headers: Headers;
  /** The `Host` header as sent; empty where there is none. Its own syntax is checked before routing. */
  readonly host: string;
}

const COMMA = 0x2c;
const HYPHEN = 0x2d;
const SLASH = 0x2f;
const FIRST_VISIBLE = 0x21;
const LAST_VISIBLE = 0x7e;

const HEADER_FORMS = `expected header ${ROUTE_HEADER}: <sandbox-id>-<port>, or Host: <sandbox-id>-<port>.<domain>`;
const URI_FORM = "expected path /<sandbox-id>/<port>/<rest>";
const PORT_RULE = "the port must be a number from 1 to 65535 without leading zero";
const ID_RULE = `the sandbox id must be 1 to ${SANDBOX_ID_MAX_LENGTH} letters, digits or -._~!$&'()*+;=`;

/**
 * Finds the route of a request, by syntax alone (docs/contract.md §2).
 *
 * In header mode the first of `OpenSandbox-Ingress-To`, its deprecated spelling and `Host` that is not blank decides:
 * an invalid one is refused, the next is not tried. In URI mode only the path is read. Header and URI forms are taken
 * as sent; the host form is lower-cased as a whole, credential included, since host names have no case
 * (RFC 9110 §4.2.3). Nothing is percent-decoded.
 *
 * Time is linear in the input's length. Throws IngressError: `route_missing` where nothing names a sandbox,
 * `route_invalid` where what names one breaks the rules. Messages carry no client input.
 */
export function parseRoute(input: RouteInput, mode: RouteMode): Route {
  if (mode === "uri") return parseUriRoute(input.path);
  const named = input.headers.get(ROUTE_HEADER);
  if (named !== null && !isBlank(named)) return parseHostStyle(named, "header", input.path);
  const deprecated = input.headers.get(DEPRECATED_ROUTE_HEADER);
  if (deprecated !== null && !isBlank(deprecated)) return parseHostStyle(deprecated, "header", input.path);
  return parseHostStyle(input.host.toLowerCase(), "host", input.path);
}

/**
 * Parses `[http[s]://]<label>[.<domain>][:<port>]` where the label is `<id>-<port>` or `<id>-<port>-<expires>-<signature>`.
 * What follows the label is passed over, but may hold neither white space nor a comma: the sign of two field lines
 * that were joined.
 */
function parseHostStyle(value: string, form: RouteForm, path: string): Route {
  const end = skipBlanksBackward(value);
  const start = skipScheme(value, skipBlanks(value));
  const labelEnd = findLabelEnd(value, start, end);
  checkIgnoredTail(value, labelEnd, end);

  const lastHyphen = findHyphenBefore(value, labelEnd, start);
  if (lastHyphen < start) {
    // No Host, an address, or a plain name: the request was sent to the ingress itself.
    if (form === "host") throw missing(HEADER_FORMS);
    throw invalid(`the port is missing; ${HEADER_FORMS}`);
  }
  const signed = parseSignedLabel(value, start, labelEnd, { form, path });
  if (signed !== undefined) return signed;
  const port = parsePort(value, lastHyphen + 1, labelEnd);
  if (port === 0) throw invalid(`${PORT_RULE}; ${HEADER_FORMS}`);
  const sandboxId = takeSandboxId(value, start, lastHyphen);
  return { form, sandboxId, port, path, signature: undefined, signedPath: path, prefix: "" };
}

/** The signed reading of a label, or undefined where its last three parts are not port, expiry and signature. */
function parseSignedLabel(
  value: string,
  start: number,
  end: number,
  rest: { readonly form: RouteForm; readonly path: string },
): Route | undefined {
  const signatureStart = end - SIGNATURE_LENGTH;
  const expiresEnd = signatureStart - 1;
  if (expiresEnd <= start || value.charCodeAt(expiresEnd) !== HYPHEN) return undefined;
  if (!isSignature(value, signatureStart, end)) return undefined;
  const portEnd = findHyphenBefore(value, expiresEnd, start);
  if (portEnd < start || !isExpires(value, portEnd + 1, expiresEnd)) return undefined;
  const idEnd = findHyphenBefore(value, portEnd, start);
  if (idEnd < start) return undefined;
  const port = parsePort(value, idEnd + 1, portEnd);
  if (port === 0) return undefined;
  const signature: RouteSignature = {
    expiresB36: value.slice(portEnd + 1, expiresEnd),
    signature: value.slice(signatureStart, end),
  };
  const sandboxId = takeSandboxId(value, start, idEnd);
  return { ...rest, sandboxId, port, signature, signedPath: rest.path, prefix: "" };
}

/**
 * Parses `/<id>/<port>[/<rest>]`. Where the rest begins with `<expires>/<signature>` the route looks signed; whether
 * those two are a credential or a part of the path is for the access check to say, so both paths are given.
 */
function parseUriRoute(path: string): Route {
  if (path.length < 2 || path.charCodeAt(0) !== SLASH) throw missing(URI_FORM);
  const idEnd = findSlash(path, 1);
  if (idEnd === path.length) throw invalid(`the port is missing; ${URI_FORM}`);
  const portEnd = findSlash(path, idEnd + 1);
  const port = parsePort(path, idEnd + 1, portEnd);
  if (port === 0) throw invalid(`${PORT_RULE}; ${URI_FORM}`);
  const sandboxId = takeSandboxId(path, 1, idEnd);
  const plain = portEnd === path.length ? "/" : path.slice(portEnd);
  const prefix = path.slice(0, portEnd);

  const expiresEnd = findSlash(path, portEnd + 1);
  const signatureEnd = findSlash(path, expiresEnd + 1);
  if (!isExpires(path, portEnd + 1, expiresEnd) || !isSignature(path, expiresEnd + 1, signatureEnd)) {
    return { form: "uri", sandboxId, port, path: plain, signature: undefined, signedPath: plain, prefix };
  }
  const signature: RouteSignature = {
    expiresB36: path.slice(portEnd + 1, expiresEnd),
    signature: path.slice(expiresEnd + 1, signatureEnd),
  };
  const signedPath = signatureEnd === path.length ? "/" : path.slice(signatureEnd);
  return { form: "uri", sandboxId, port, path: plain, signature, signedPath, prefix };
}

/** The id in `text[start, end)`; throws `route_invalid` where it is empty, too long or holds a forbidden character. */
function takeSandboxId(text: string, start: number, end: number): string {
  if (end <= start || end - start > SANDBOX_ID_MAX_LENGTH) throw invalid(ID_RULE);
  for (let at = start; at < end; at++) {
    if (!isSandboxIdCode(text.charCodeAt(at))) throw invalid(ID_RULE);
  }
  return text.slice(start, end);
}

function checkIgnoredTail(value: string, start: number, end: number): void {
  for (let at = start; at < end; at++) {
    const code = value.charCodeAt(at);
    if (code < FIRST_VISIBLE || code > LAST_VISIBLE || code === COMMA) {
      throw invalid(`the value must be one host name; ${HEADER_FORMS}`);
    }
  }
}

function findLabelEnd(value: string, start: number, end: number): number {
  let at = start;
  while (at < end && !endsLabel(value.charCodeAt(at))) at++;
  return at;
}

/** Index of the last hyphen in `text[start, end)`, or `start - 1`. */
function findHyphenBefore(text: string, end: number, start: number): number {
  let at = end - 1;
  while (at >= start && text.charCodeAt(at) !== HYPHEN) at--;
  return at;
}

/** Index of the first slash at or after `start`, or the text's length. */
function findSlash(text: string, start: number): number {
  const at = text.indexOf("/", start);
  return at < 0 ? text.length : at;
}

/** Index behind `http://` or `https://`; schemes have no case (RFC 3986 §3.1). */
function skipScheme(value: string, start: number): number {
  if ((value.charCodeAt(start) | 0x20) !== 0x68) return start;
  const head = value.slice(start, start + "https://".length).toLowerCase();
  if (head === "https://") return start + head.length;
  return head.startsWith("http://") ? start + "http://".length : start;
}

/** SP and HTAB: RFC 9110 §5.6.3. */
function isBlankCode(code: number): boolean {
  return code === 0x20 || code === 0x09;
}

function isBlank(value: string): boolean {
  return skipBlanks(value) === value.length;
}

function skipBlanks(value: string): number {
  let at = 0;
  while (at < value.length && isBlankCode(value.charCodeAt(at))) at++;
  return at;
}

function skipBlanksBackward(value: string): number {
  let at = value.length;
  while (at > 0 && isBlankCode(value.charCodeAt(at - 1))) at--;
  return at;
}

function missing(expected: string): IngressError {
  return new IngressError("route_missing", `no route in request; ${expected}`);
}

function invalid(reason: string): IngressError {
  return new IngressError("route_invalid", `invalid route: ${reason}`);
}
