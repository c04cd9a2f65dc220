/**
 * The same signal twice within this time counts once, in milliseconds: `timeout` of coreutils signals the process and
 * then its whole group, and a terminal and a supervisor may both forward one.
 */
const SAME_SIGNAL_MS = 200;

/** The meaning of a signal: begin to stop, nothing, or end at once. */
export type StopOrder = "drain" | "ignore" | "exit";

/** Distinguishes the first signal to stop, its repetition, and a person who does not want to wait. */
export class StopSignals {
  #first: { readonly signal: string; readonly atMs: number } | undefined;

  /** @param nowMs Monotonic milliseconds. */
  receive(signal: string, nowMs: number): StopOrder {
    if (this.#first === undefined) {
      this.#first = { signal, atMs: nowMs };
      return "drain";
    }
    const isEcho = signal === this.#first.signal && nowMs - this.#first.atMs < SAME_SIGNAL_MS;
    return isEcho ? "ignore" : "exit";
  }
}
