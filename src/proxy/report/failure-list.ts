import type { Clock } from "../../clock.ts";
import type { AccessEntry } from "./access-log.ts";

/**
 * Failures that are kept: what an operator reads. Usually some 50 KB; at the worst 7 MB, since an id is a part of the request's
 * target, which it keeps in memory, and that has at most `--max-header-size`.
 */
export const FAILURES_MAX = 100;

/** A request that failed, as the access log has it: without path, query, header or credential. */
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

  /** The newest first. */
  list(): readonly Failure[] {
    const older = this.#failures.slice(this.#next);
    return [...older, ...this.#failures.slice(0, this.#next)].toReversed();
  }
}
