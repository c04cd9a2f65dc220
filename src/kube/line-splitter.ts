import { createTextBuffer } from "./text-buffer.ts";

/** Splits a stream of bytes into lines of text, for any chunk boundaries. */
export interface LineSplitter {
  /**
   * Yields the lines that `chunk` completes, without their newline; skips empty lines. Throws a RangeError for a line
   * longer than the bound and a TypeError for bytes that are not UTF-8.
   */
  push(chunk: Uint8Array): Generator<string, void, undefined>;
  /** Bytes of the line that has not ended yet. */
  pendingBytes(): number;
}

const NEWLINE = 0x0a;

/** @param lineMaxBytes The longest line, in bytes. */
export function createLineSplitter(lineMaxBytes: number): LineSplitter {
  const buffer = createTextBuffer({ maxBytes: lineMaxBytes, what: "a line" });
  return {
    // One line at a time: a chunk may contain thousands of lines, and each is reduced to a few bytes before the next is
    // decoded.
    *push(chunk) {
      let start = 0;
      for (let end = chunk.indexOf(NEWLINE); end >= 0; end = chunk.indexOf(NEWLINE, start)) {
        const line = buffer.finish(chunk.subarray(start, end));
        start = end + 1;
        if (line !== "") yield line;
      }
      if (start < chunk.length) buffer.append(chunk.subarray(start));
    },
    pendingBytes: () => buffer.pendingBytes(),
  };
}
