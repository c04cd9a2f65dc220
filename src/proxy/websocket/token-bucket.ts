const MS_PER_SECOND = 1_000;

/** Counts something that may happen so often a second, with a reserve for bursts. */
export class TokenBucket {
  readonly #perMs: number;
  readonly #burst: number;
  #tokens: number;
  #filledAt: number;

  /**
   * @param rate `perSecond`: how many come back in a second; `burst`: the most that there can be, and what there is at first.
   * @param nowMs Monotonic time in milliseconds, here and below.
   */
  constructor(rate: { readonly perSecond: number; readonly burst: number }, nowMs: number) {
    this.#perMs = rate.perSecond / MS_PER_SECOND;
    this.#burst = rate.burst;
    this.#tokens = rate.burst;
    this.#filledAt = nowMs;
  }

  /** Whether one may be taken. */
  has(nowMs: number): boolean {
    if (nowMs > this.#filledAt) {
      this.#tokens = Math.min(this.#burst, this.#tokens + (nowMs - this.#filledAt) * this.#perMs);
      this.#filledAt = nowMs;
    }
    return this.#tokens >= 1;
  }

  /** Takes one, which `has` has allowed. */
  take(): void {
    this.#tokens--;
  }

  /** Takes one and returns true, or returns false where there is none. */
  tryTake(nowMs: number): boolean {
    if (!this.has(nowMs)) return false;
    this.#tokens--;
    return true;
  }

  /** Whether a new one would be the same. */
  isFull(nowMs: number): boolean {
    this.has(nowMs);
    return this.#tokens >= this.#burst;
  }
}
