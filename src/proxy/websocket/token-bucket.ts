const MS_PER_SECOND = 1_000;

/** Limits how often something may happen per second, with a reserve for bursts. */
export class TokenBucket {
  readonly #perMs: number;
  readonly #burst: number;
  #tokens: number;
  #filledAt: number;

  /**
   * @param rate `perSecond`: how many tokens come back per second; `burst`: the largest number of tokens, and the
   * first.
   * @param nowMs Monotonic time in milliseconds, here and below.
   */
  constructor(rate: { readonly perSecond: number; readonly burst: number }, nowMs: number) {
    this.#perMs = rate.perSecond / MS_PER_SECOND;
    this.#burst = rate.burst;
    this.#tokens = rate.burst;
    this.#filledAt = nowMs;
  }

  /** Whether a token may be taken. */
  has(nowMs: number): boolean {
    if (nowMs > this.#filledAt) {
      this.#tokens = Math.min(this.#burst, this.#tokens + (nowMs - this.#filledAt) * this.#perMs);
      this.#filledAt = nowMs;
    }
    return this.#tokens >= 1;
  }

  /** Takes a token. Call `has` first. */
  take(): void {
    this.#tokens--;
  }

  /** Takes a token and returns true; returns false if there is none. */
  tryTake(nowMs: number): boolean {
    if (!this.has(nowMs)) return false;
    this.#tokens--;
    return true;
  }

  /** Whether the bucket is full, so that a new one would be the same. */
  isFull(nowMs: number): boolean {
    this.has(nowMs);
    return this.#tokens >= this.#burst;
  }
}
