/** How long a sandbox may be silent after the head of an event stream before the client gets a line feed, in milliseconds. */
export const EARLY_NEWLINE_AFTER_MS = 100;

/** Headers that speak of the exact bytes of a body: one more would make them wrong (RFC 9110 §8.4, §8.6, §8.8.3, RFC 9530). */
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
 * Whether a line feed may come before the body of an answer (`--stream-early-newline`): an event stream, whose format ignores
 * empty lines between events (WHATWG HTML §9.2.6), of which no header speaks of exact bytes.
 */
export function allowsEarlyNewline(status: number, headers: Headers): boolean {
  const [type = ""] = (headers.get("content-type") ?? "").split(";");
  if (status !== 200 || type.trim().toLowerCase() !== "text/event-stream") return false;
  return !BYTE_HEADERS.some((name) => headers.has(name));
}

/** A new one each time: whoever takes a chunk may keep its bytes. */
export function lineFeed(): Uint8Array {
  return Uint8Array.of(LINE_FEED);
}

/** The first chunk behind an early line feed. A byte order mark means nothing at the beginning, but spoils a later line. */
export function withoutByteOrderMark(chunk: Uint8Array): Uint8Array {
  const hasMark = BYTE_ORDER_MARK.every((byte, index) => chunk[index] === byte);
  return hasMark ? chunk.subarray(BYTE_ORDER_MARK.length) : chunk;
}
