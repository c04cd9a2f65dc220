import type { Clock } from "../../clock.ts";
import type { AccessEntry } from "./access-log.ts";

/**
 * How many failures are kept: as many as an operator reads. They usually take about 50 KB, and at most 7 MB: an id is a
 * part of the request's target and keeps all of it in memory, and the target is limited by `--max-header-size`.
 */
export const FAILURES_MAX = 100;

/** A request that failed, as in the access log: without path, query, header or credential. */
export interface Failure extends AccessEntry {
  /** Wall-clock milliseconds of its end. */
  readonly timeMs: number;
}

/** The last failures, whatever `--access-log` says. */
export class FailureList {
  readonly #clock: Clock;
  readonly #failures: Failure[] = [];
  #next = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  add(entry: AccessEntry): void {
    this.#failures[this.#next] = { ...entry, timeMs: this.#clock.now() };
    this.#next = (this.#next + 1) % FAILURES_MAX;
  }

  /** The newest failure first. */
  list(): readonly Failure[] {
    const older = this.#failures.slice(this.#next);
    return [...older, ...this.#failures.slice(0, this.#next)].toReversed();
  }
}
