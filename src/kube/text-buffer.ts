/** Joins bytes that arrive in parts to a text, so that a character split between two parts stays whole. */
export interface TextBuffer {
  /** Adds a part. Throws a RangeError if the text becomes longer than the bound. */
  append(part: Uint8Array): void;
  /**
   * Returns the text of all parts and this last one, and starts again. Throws a RangeError as `append` does, and a
   * TypeError for bytes that are not UTF-8.
   */
  finish(part: Uint8Array): string;
  /** Bytes added so far. */
  pendingBytes(): number;
}

/** Bytes that the buffer keeps between two texts: enough for an ordinary object. */
const BUFFER_KEEP_BYTES = 64 * 1024;

/** @param options `maxBytes`: the longest text, in bytes. `what`: its name in messages, such as "a line". */
export function createTextBuffer(options: { readonly maxBytes: number; readonly what: string }): TextBuffer {
  const { maxBytes, what } = options;
  const decoder = new TextDecoder("utf-8", { fatal: true });
  let buffer = new Uint8Array(0);
  let pending = 0;

  function append(part: Uint8Array): void {
    const length = pending + part.length;
    if (length > maxBytes) throw new RangeError(`${what} is longer than ${maxBytes} bytes`);
    if (length > buffer.length) {
      const larger = new Uint8Array(Math.max(length, buffer.length * 2, BUFFER_KEEP_BYTES));
      larger.set(buffer.subarray(0, pending));
      buffer = larger;
    }
    buffer.set(part, pending);
    pending = length;
  }

  return {
    append,
    finish(part) {
      // Most texts arrive in one part. They are not copied.
      if (pending === 0 && part.length <= maxBytes) return decoder.decode(part);
      append(part);
      const text = decoder.decode(buffer.subarray(0, pending));
      pending = 0;
      // One huge object must not keep memory for ever.
      if (buffer.length > BUFFER_KEEP_BYTES) buffer = new Uint8Array(0);
      return text;
    },
    pendingBytes: () => pending,
  };
}
