import { IngressError } from "../../errors.ts";

/**
 * An answer of known length up to this many bytes is read completely before it is passed on, as long as it arrives
 * quickly. Only so it keeps its Content-Length (oven-sh/bun#10507). Clients that need a length download less than this.
 */
export const WHOLE_ANSWER_MAX_BYTES = 32 * 1024 * 1024;

/**
 * Merges several equal lengths into one, in place (RFC 9112 §6.3 item 5). Bun checks them only if a body comes, and not
 * in the answer to a handshake. Returns the length as text; undefined: it is missing.
 * Throws `upstream_protocol` for different lengths and for a value that is not a length.
 */
export function settleLength(headers: Headers): string | undefined {
  const text = headers.get("content-length");
  if (text === null) return undefined;
  if (LENGTH.test(text)) return text;
  const [length = "", ...others] = text.split(",").map((part) => part.trim());
  if (!LENGTH.test(length) || others.some((other) => other !== length)) {
    throw new IngressError("upstream_protocol", undefined, { cause: "the answer has an invalid length" });
  }
  headers.set("content-length", length);
  return length;
}

/** The digits of RFC 9110 §8.6, of a number that every client can hold in 64 bits. */
const LENGTH = /^\d{1,18}$/;

/**
 * The length of an answer that may be passed on whole; undefined: it is unknown or too large.
 * @param settled As `settleLength` returns it.
 */
export function knownLength(settled: string | undefined): number | undefined {
  if (settled === undefined) return undefined;
  const length = Number(settled);
  return length <= WHOLE_ANSWER_MAX_BYTES ? length : undefined;
}
