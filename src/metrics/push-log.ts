import type { Logger } from "../log/logger.ts";

/** Logs when pushing begins to fail, then after 2, 4, 8, … failures, and when it works again. */
export class PushLog {
  readonly #logger: Logger;
  readonly #what: string;
  #failures = 0;

  /** @param what `metrics` or `traces`. */
  constructor(logger: Logger, what: string) {
    this.#logger = logger;
    this.#what = what;
  }

  /** Notes the result of one push; undefined: it worked. */
  note(error: Error | undefined): void {
    if (error === undefined) {
      if (this.#failures > 0) this.#logger.info(`pushing ${this.#what} works again`, { failures: this.#failures });
      this.#failures = 0;
      return;
    }
    this.#failures += 1;
    const isPowerOfTwo = Number.isInteger(Math.log2(this.#failures));
    if (isPowerOfTwo) {
      this.#logger.warn(`cannot push ${this.#what}: check the collector and the OTEL_* variables`, {
        failures: this.#failures,
        cause: error.message,
      });
    }
  }
}
