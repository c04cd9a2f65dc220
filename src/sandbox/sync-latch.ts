import type { Clock } from "../clock.ts";

/** Tells waiters that a provider has synced. It is set once and stays set. */
export class SyncLatch {
  readonly #clock: Clock;
  readonly #waiting = new Set<() => void>();
  #isSet = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get isSet(): boolean {
    return this.#isSet;
  }

  set(): void {
    this.#isSet = true;
    for (const wake of this.#waiting) wake();
    this.#waiting.clear();
  }

  /** Resolves to true once set, or to false after `timeoutMs`. */
  wait(timeoutMs: number): Promise<boolean> {
    if (this.#isSet) return Promise.resolve(true);
    return new Promise((resolve) => {
      const wake = () => {
        timer.cancel();
        this.#waiting.delete(wake);
        resolve(this.#isSet);
      };
      const timer = this.#clock.setTimer(timeoutMs, wake);
      this.#waiting.add(wake);
    });
  }
}
