const MS_PER_SECOND = 1_000;

/** What a late timer may make up for, in milliseconds: so a busy loop does not slow the release down. */
const CATCH_UP_MS = 100;

/** Allows so many in a second, and at least one now. */
export class ReleaseRate {
  readonly #perSecond: number;
  #credit = 1;
  #creditAt: number;

  /** @param perSecond 0: no limit. */
  constructor(perSecond: number, nowMs: number) {
    this.#perSecond = perSecond;
    this.#creditAt = nowMs;
  }

  /** Milliseconds until the next one. */
  get intervalMs(): number {
    return MS_PER_SECOND / this.#perSecond;
  }

  /** Whether one more may go on now. */
  take(nowMs: number): boolean {
    if (this.#perSecond === 0) return true;
    const most = Math.max(1, (this.#perSecond * CATCH_UP_MS) / MS_PER_SECOND);
    this.#credit = Math.min(most, this.#credit + ((nowMs - this.#creditAt) * this.#perSecond) / MS_PER_SECOND);
    this.#creditAt = nowMs;
    if (this.#credit < 1) return false;
    this.#credit -= 1;
    return true;
  }
}
