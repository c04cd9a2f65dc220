/**
 * Maximum number of waiting intents. At the usual 200 to 300 bytes they take about 3 MB, with the longest paths 20 MB.
 * While Redis is away, the newest intents are the most useful: an older one for the same sandbox says less.
 */
export const RENEW_QUEUE_MAX_INTENTS = 10_000;

/** An intent to publish. */
export interface QueuedIntent {
  /** The list element, complete. */
  readonly json: string;
  /** Wall-clock milliseconds since the epoch, equal to the `observed_at` in `json`. */
  readonly observedAtMs: number;
}

/** First in, first out, with at most `maxIntents` intents: the oldest make room for new ones. */
export class RenewQueue {
  readonly #slots: (QueuedIntent | undefined)[];
  #head = 0;
  #size = 0;
  #dropped = 0;

  /** `maxIntents` is at least 1. */
  constructor(maxIntents: number = RENEW_QUEUE_MAX_INTENTS) {
    this.#slots = Array.from({ length: maxIntents });
  }

  get size(): number {
    return this.#size;
  }

  /** Intents dropped since the start because the queue was full. */
  get dropped(): number {
    return this.#dropped;
  }

  /** Appends an intent. Drops the oldest one if the queue is full. */
  push(intent: QueuedIntent): void {
    if (this.#size === this.#slots.length) {
      this.shift();
      this.#dropped += 1;
    }
    this.#slots[(this.#head + this.#size) % this.#slots.length] = intent;
    this.#size += 1;
  }

  /** Removes and returns the oldest intent. */
  shift(): QueuedIntent | undefined {
    if (this.#size === 0) return undefined;
    const intent = this.#slots[this.#head];
    this.#slots[this.#head] = undefined;
    this.#head = (this.#head + 1) % this.#slots.length;
    this.#size -= 1;
    return intent;
  }

  /** Puts intents back in front of all others, oldest first. Drops the oldest of them if there is no room. */
  putBack(intents: readonly QueuedIntent[]): void {
    const room = this.#slots.length - this.#size;
    const kept = intents.slice(Math.max(0, intents.length - room));
    this.#dropped += intents.length - kept.length;
    this.#head = (this.#head - kept.length + this.#slots.length) % this.#slots.length;
    for (const [offset, intent] of kept.entries()) this.#slots[(this.#head + offset) % this.#slots.length] = intent;
    this.#size += kept.length;
  }

  /** Empties the queue and returns the number of intents removed. */
  clear(): number {
    const size = this.#size;
    this.#slots.fill(undefined);
    this.#head = 0;
    this.#size = 0;
    return size;
  }
}
