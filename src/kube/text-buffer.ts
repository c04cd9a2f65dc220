/** Puts a piece of text together from bytes that come in parts, so that a character cut by a part's end is whole. */
export interface TextBuffer {
  /** Keeps a part. Throws a RangeError when the whole gets longer than the bound. */
  append(part: Uint8Array): void;
  /**
   * Gives the text of what was kept and of the last part, and begins anew. Throws a RangeError as `append` does, and a
   * TypeError for bytes that are not UTF-8.
   */
  finish(part: Uint8Array): string;
  /** How much is kept, in bytes. */
  pendingBytes(): number;
}

/** What the buffer keeps between two texts, in bytes: enough for an ordinary object. */
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
      // Most texts are whole in one part: these are not copied.
      if (pending === 0 && part.length <= maxBytes) return decoder.decode(part);
      append(part);
      const text = decoder.decode(buffer.subarray(0, pending));
      pending = 0;
      if (buffer.length > BUFFER_KEEP_BYTES) buffer = new Uint8Array(0); // one huge object must not cost for ever
      return text;
    },
    pendingBytes: () => pending,
  };
}
