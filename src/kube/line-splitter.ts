/** Cuts a stream of bytes into lines of text, wherever the chunks end. */
export interface LineSplitter {
  /**
   * The lines that `chunk` completes, without their newline; empty ones are left out.
   * Throws a RangeError for a line longer than the bound and a TypeError for bytes that are no UTF-8.
   */
  push(chunk: Uint8Array): string[];
  /** Bytes of a line that has not ended yet. */
  pendingBytes(): number;
}

const NEWLINE = 0x0a;
/** What the buffer for an unfinished line keeps between lines, in bytes: enough for any ordinary object. */
const BUFFER_KEEP_BYTES = 64 * 1024;

/** @param lineMaxBytes The longest line, in bytes. */
export function createLineSplitter(lineMaxBytes: number): LineSplitter {
  // Decoded a whole line at a time, so that a character cut by a chunk's end is never decoded in halves.
  const decoder = new TextDecoder("utf-8", { fatal: true });
  let buffer = new Uint8Array(0);
  let pending = 0;

  function keep(part: Uint8Array): void {
    const length = pending + part.length;
    if (length > lineMaxBytes) throw new RangeError(`a line is longer than ${lineMaxBytes} bytes`);
    if (length > buffer.length) {
      const larger = new Uint8Array(Math.max(length, buffer.length * 2, BUFFER_KEEP_BYTES));
      larger.set(buffer.subarray(0, pending));
      buffer = larger;
    }
    buffer.set(part, pending);
    pending = length;
  }

  function finish(part: Uint8Array): string {
    if (pending === 0) return decoder.decode(part);
    keep(part);
    const line = decoder.decode(buffer.subarray(0, pending));
    pending = 0;
    if (buffer.length > BUFFER_KEEP_BYTES) buffer = new Uint8Array(0); // one huge object must not cost for ever
    return line;
  }

  return {
    push(chunk) {
      const lines: string[] = [];
      let start = 0;
      for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, start)) {
        const line = finish(chunk.subarray(start, end));
        if (line !== "") lines.push(line);
        start = end + 1;
      }
      if (start < chunk.length) keep(chunk.subarray(start));
      return lines;
    },
    pendingBytes: () => pending,
  };
}
