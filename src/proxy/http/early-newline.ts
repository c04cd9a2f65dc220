/**
 * How long a sandbox may be silent after the head of an event stream before the client gets a line feed, in
 * milliseconds.
 */
export const EARLY_NEWLINE_AFTER_MS = 100;

/**
 * Headers that describe the exact bytes of a body, so that one more byte would make them wrong (RFC 9110 §8.4, §8.6,
 * §8.8.3, RFC 9530).
 */
const BYTE_HEADERS = [
  "content-length",
  "content-encoding",
  "content-md5",
  "etag",
  "digest",
  "content-digest",
  "repr-digest",
] as const;

const LINE_FEED = 0x0a;
const BYTE_ORDER_MARK = [0xef, 0xbb, 0xbf] as const;

/**
 * Whether a line feed may come before the body of an answer (`--stream-early-newline`). The answer must be an event
 * stream, whose format ignores empty lines between events (WHATWG HTML §9.2.6), and no header may describe its exact
 * bytes.
 */
export function allowsEarlyNewline(status: number, headers: Headers): boolean {
  const [type = ""] = (headers.get("content-type") ?? "").split(";");
  if (status !== 200 || type.trim().toLowerCase() !== "text/event-stream") return false;
  return !BYTE_HEADERS.some((name) => headers.has(name));
}

/** Returns a new array each time, since the receiver of a chunk may keep its bytes. */
export function lineFeed(): Uint8Array {
  return Uint8Array.of(LINE_FEED);
}

/**
 * Drops a byte order mark after an early line feed, even if it comes in several chunks. At the beginning of a stream
 * the mark means nothing, but after a line feed it would spoil the line.
 */
export class ByteOrderMarkDropper {
  /** Bytes of the mark that have arrived; undefined: no mark can come any more. */
  #taken: number | undefined = 0;

  /** The part of the next chunk that is passed on; empty: nothing yet. */
  take(chunk: Uint8Array): Uint8Array {
    const before = this.#taken;
    if (before === undefined) return chunk;
    let taken = before;
    while (taken < BYTE_ORDER_MARK.length && chunk[taken - before] === BYTE_ORDER_MARK[taken]) taken++;
    if (taken - before === chunk.length && taken < BYTE_ORDER_MARK.length) {
      this.#taken = taken;
      return chunk.subarray(chunk.length);
    }
    this.#taken = undefined;
    if (taken === BYTE_ORDER_MARK.length) return chunk.subarray(taken - before);
    return before === 0 ? chunk : Buffer.concat([Uint8Array.from(BYTE_ORDER_MARK.slice(0, before)), chunk]);
  }

  /** The bytes that looked like the beginning of a mark when the stream ends; empty: none. */
  end(): Uint8Array {
    const held = BYTE_ORDER_MARK.slice(0, this.#taken ?? 0);
    this.#taken = undefined;
    return Uint8Array.from(held);
  }
}
