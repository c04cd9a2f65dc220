import { IngressError } from "../../errors.ts";

/**
 * An answer of known length up to this many bytes is read whole before it is passed on, while it comes quickly: the only way
 * in which it keeps its Content-Length (oven-sh/bun#10507). Clients that cannot do without a length download less than this.
 */
export const WHOLE_ANSWER_MAX_BYTES = 32 * 1024 * 1024;

/**
 * Makes one length of several equal ones, in place (RFC 9112 §6.3 item 5). Bun looks at them only where a body comes, and not in
 * the answer to a handshake.
 * Throws `upstream_protocol` for lengths that differ, and for what is not a length.
 */
export function settleLength(headers: Headers): void {
  const text = headers.get("content-length");
  if (text === null || LENGTH.test(text)) return;
  const [length = "", ...others] = text.split(",").map((part) => part.trim());
  if (!LENGTH.test(length) || others.some((other) => other !== length)) {
    throw new IngressError("upstream_protocol", undefined, { cause: "the answer has an invalid length" });
  }
  headers.set("content-length", length);
}

/** The digits of RFC 9110 §8.6, of a number that every client can hold in 64 bits. */
const LENGTH = /^\d{1,18}$/;

/** The length of an answer that may be kept whole; undefined where it is unknown, too large or not a number. */
export function knownLength(headers: Headers): number | undefined {
  const text = headers.get("content-length");
  if (text === null || !/^\d{1,8}$/.test(text)) return undefined;
  const length = Number(text);
  return length <= WHOLE_ANSWER_MAX_BYTES ? length : undefined;
}
