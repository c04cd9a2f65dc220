import { IngressError } from "../../errors.ts";
import type { HeaderSnapshot } from "./headers.ts";

/**
 * Checks how the body is framed, without reading it. Returns its length; undefined: chunked; 0: no body.
 *
 * Throws `body_not_allowed` for a body with GET or HEAD, which Bun would drop (RFC 9110 §9.3.1 gives it no meaning).
 * Throws `body_too_large`. Throws `request_invalid` for a Content-Length that is not a number. Two equal ones arrive as
 * `3, 3`.
 */
export function checkRequestFraming(method: string, seen: HeaderSnapshot, maxBodyBytes: number): number | undefined {
  const text = seen["content-length"];
  if (text === undefined && seen["transfer-encoding"] === undefined) return 0;
  const length = text === undefined ? undefined : parseContentLength(text);
  if (length === 0) return 0;
  if (method === "GET" || method === "HEAD") throw new IngressError("body_not_allowed");
  if (length !== undefined && maxBodyBytes > 0 && length > maxBodyBytes) throw new IngressError("body_too_large");
  return length;
}

/**
 * Whether a request has a body that no header announces, as HTTP/2 allows (RFC 9113 §8.1). Bun never shows one of GET or
 * HEAD.
 */
export function hasUnannouncedBody(request: Request, seen: HeaderSnapshot): boolean {
  if (request.method === "GET" || request.method === "HEAD") return false;
  const isAnnounced = seen["content-length"] !== undefined || seen["transfer-encoding"] !== undefined;
  return !isAnnounced && request.body !== null;
}

/** Parses the digits of RFC 9110 §8.6; throws `request_invalid` for anything else. */
export function parseContentLength(text: string): number {
  const length = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN;
  if (!Number.isSafeInteger(length)) throw new IngressError("request_invalid", "invalid Content-Length");
  return length;
}

/**
 * Whether the headers of a request announce a body. Bun hides the body of GET and HEAD, and reads it as long as it
 * comes.
 */
export function announcesBody(headers: Headers): boolean {
  return (headers.get("content-length") ?? "0") !== "0" || headers.has("transfer-encoding");
}
