import { type Clock, sleep, type Timer } from "../clock.ts";
import type { Span } from "./span.ts";

/** Spans that wait to be pushed. A span takes about 1 KB, so they take at most about 2 MB. More are dropped. */
export const SPAN_QUEUE_MAX = 2_048;
/** Spans of one push. Writing them as JSON takes a few milliseconds, during which no request moves. */
export const SPAN_BATCH_MAX = 256;
/** How long a span waits for others, in milliseconds (the default of OTEL_BSP_SCHEDULE_DELAY). */
export const SPAN_DELAY_MS = 5_000;
/** How much longer than its own time limit a push may take, in milliseconds. Then it counts as failed. */
const PUSH_GRACE_MS = 1_000;

/** Spans since the start, by what became of them. */
export interface SpanCounts {
  /** The collector took them. */
  readonly exported: number;
  /** The queue was full, or the time of the drain was over. */
  readonly dropped: number;
  /** The collector did not take them in time. */
  readonly failed: number;
}

/** What the queue needs. */
export interface SpanQueueOptions {
  readonly clock: Clock;
  /** Time limit of one push, in milliseconds. */
  readonly timeoutMs: number;
  /** Pushes spans. Rejects or throws if the collector does not take them. */
  push(spans: readonly Span[]): Promise<void>;
}

/** Collects spans and pushes them in batches, one at a time. Each span is tried once. */
export class SpanQueue {
  readonly #options: SpanQueueOptions;
  #waiting: Span[] = [];
  #timer: Timer | undefined;
  #pushing: Promise<void> | undefined;
  #inPush = 0;
  #isStopped = false;
  #exported = 0;
  #dropped = 0;
  #failed = 0;

  constructor(options: SpanQueueOptions) {
    this.#options = options;
  }

  /** Never throws and never blocks. */
  add(span: Span): void {
    if (this.#isStopped || this.#waiting.length >= SPAN_QUEUE_MAX) {
      this.#dropped += 1;
      return;
    }
    this.#waiting.push(span);
    if (this.#pushing !== undefined) return;
    if (this.#waiting.length === 1) this.#arm(SPAN_DELAY_MS);
    // Not at once: the request that ends here does not wait for the batch to be written.
    else if (this.#waiting.length === SPAN_BATCH_MAX) this.#arm(0);
  }

  counts(): SpanCounts {
    return { exported: this.#exported, dropped: this.#dropped, failed: this.#failed };
  }

  /** Pushes what waits, within `maxMs`, and drops the rest. Takes nothing more. Never rejects. */
  async stop(maxMs: number): Promise<void> {
    this.#isStopped = true;
    this.#timer?.cancel();
    const done = new AbortController();
    const emptied = this.#empty(done.signal).finally(() => done.abort());
    await Promise.race([emptied, sleep(this.#options.clock, maxMs, done.signal)]);
    done.abort();
    this.#dropped += this.#waiting.length + this.#inPush;
    this.#waiting = [];
    this.#inPush = 0;
  }

  async #empty(over: AbortSignal): Promise<void> {
    await this.#pushing;
    while (this.#waiting.length > 0 && !over.aborted) await this.#pushBatch();
  }

  #arm(delayMs: number): void {
    this.#timer?.cancel();
    this.#timer = this.#options.clock.setTimer(delayMs, () => {
      this.#timer = undefined;
      this.#pushing = this.#pushBatch().finally(() => this.#goOn());
    });
  }

  #goOn(): void {
    this.#pushing = undefined;
    if (this.#isStopped || this.#waiting.length === 0) return;
    this.#arm(this.#waiting.length >= SPAN_BATCH_MAX ? 0 : SPAN_DELAY_MS);
  }

  /** Never rejects. */
  async #pushBatch(): Promise<void> {
    const batch = this.#waiting.splice(0, SPAN_BATCH_MAX);
    this.#inPush = batch.length;
    const isTaken = await this.#tryPush(batch);
    // The drain was over first, and has counted them.
    if (this.#inPush === 0) return;
    this.#inPush = 0;
    if (isTaken) this.#exported += batch.length;
    else this.#failed += batch.length;
  }

  async #tryPush(batch: readonly Span[]): Promise<boolean> {
    const { clock, timeoutMs } = this.#options;
    const done = new AbortController();
    const late = sleep(clock, timeoutMs + PUSH_GRACE_MS, done.signal).then(() => false);
    try {
      return await Promise.race([this.#options.push(batch).then(() => true), late]);
    } catch {
      return false;
    } finally {
      done.abort();
    }
  }
}
