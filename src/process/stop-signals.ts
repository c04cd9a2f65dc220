/**
 * The same signal twice within so many milliseconds is one: `timeout` of coreutils signals the process and then its whole group, a
 * terminal and a supervisor may both pass one on.
 */
const SAME_SIGNAL_MS = 200;

/** What a signal means: begin to stop, nothing, or end at once. */
export type StopOrder = "drain" | "ignore" | "exit";

/** Tells apart the first signal to stop, its echo, and a person who does not want to wait. */
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
