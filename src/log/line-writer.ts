import { type Clock, sleep } from "../clock.ts";

/**
 * Maximum number of characters of lines that wait for a slow reader: some thousands of lines. More lines are dropped.
 */
const PENDING_MAX_CHARS = 1024 * 1024;
/**
 * Maximum number of characters of one write: the default size of a Linux pipe, so that a fast reader takes it at once.
 */
const BATCH_MAX_CHARS = 64 * 1024;
/** How long `flush` waits for a reader that has stalled, in milliseconds. */
const FLUSH_MAX_MS = 1_000;

/** Writes a chunk of whole lines. Resolves when it is handed over. If it rejects, the chunk is lost. */
export type WriteChunk = (chunk: string) => Promise<void>;

export interface LineWriterOptions {
  readonly write: WriteChunk;
  readonly clock: Clock;
  /** Makes the line that says how many lines were dropped. No limit applies to it. */
  readonly formatDropped: (count: number) => string;
}

/**
 * Takes lines without ever blocking, and writes them in batches, one at a time. While a reader stalls, a bounded number
 * of lines waits and the rest is dropped and counted. When it reads again, one line says how many are missing.
 */
export class LineWriter {
  readonly #options: LineWriterOptions;
  #pending: string[] = [];
  #pendingChars = 0;
  /** Resolves when nothing is pending; undefined if nothing is being written. */
  #writing: Promise<void> | undefined;
  #dropped = 0;
  #unreported = 0;

  constructor(options: LineWriterOptions) {
    this.#options = options;
  }

  /** Lines dropped since the start. */
  get dropped(): number {
    return this.#dropped;
  }

  /** Takes one line, including its line feed. */
  push(line: string): void {
    if (this.#pendingChars + line.length > PENDING_MAX_CHARS) {
      this.#countDropped(1);
      return;
    }
    this.#append(line);
    this.#writing ??= this.#writeAll();
  }

  /** Resolves when all lines so far have been written, or after a second. */
  async flush(): Promise<void> {
    if (this.#writing === undefined) return;
    const written = new AbortController();
    await Promise.race([
      this.#writing.finally(() => written.abort()),
      sleep(this.#options.clock, FLUSH_MAX_MS, written.signal),
    ]);
  }

  async #writeAll(): Promise<void> {
    // Lines of the same turn of the event loop are written together.
    await new Promise<void>((resolve) => setImmediate(resolve));
    while (this.#pending.length > 0) {
      const batch = this.#takeBatch();
      try {
        await this.#options.write(batch.join(""));
        this.#reportDropped();
      } catch {
        // The reader has gone or the disk is full. Only the counter can report it.
        this.#countDropped(batch.length);
      }
    }
    this.#writing = undefined;
  }

  #takeBatch(): string[] {
    let count = 0;
    let chars = 0;
    for (const line of this.#pending) {
      if (count > 0 && chars + line.length > BATCH_MAX_CHARS) break;
      count += 1;
      chars += line.length;
    }
    this.#pendingChars -= chars;
    return this.#pending.splice(0, count);
  }

  #append(line: string): void {
    this.#pending.push(line);
    this.#pendingChars += line.length;
  }

  #countDropped(count: number): void {
    this.#dropped += count;
    this.#unreported += count;
  }

  #reportDropped(): void {
    if (this.#unreported === 0) return;
    const line = this.#options.formatDropped(this.#unreported);
    this.#unreported = 0;
    this.#append(line);
  }
}
