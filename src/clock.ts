/** A timer that has been set; cancelling one that has fired is harmless. */
export interface Timer {
  cancel(): void;
}

/** Time as the program sees it. A seam: tests put a clock of their own here. */
export interface Clock {
  /** Wall-clock time in milliseconds since the epoch; may jump. For time stamps and expiries. */
  now(): number;
  /** Milliseconds from an arbitrary start, never backwards. For durations. */
  monotonic(): number;
  /** Calls `fire` once after `delayMs` (0 means: as soon as the event loop turns). Does not keep the process alive. */
  setTimer(delayMs: number, fire: () => void): Timer;
}

/** The machine's clock. */
export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  setTimer(delayMs, fire) {
    const handle = setTimeout(fire, delayMs);
    handle.unref();
    return { cancel: () => clearTimeout(handle) };
  },
};

/**
 * Resolves after `delayMs`, or as soon as `signal` aborts, whichever comes first; never rejects.
 * The caller looks at `signal.aborted` when the difference matters.
 */
export function sleep(clock: Clock, delayMs: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted === true) return resolve();
    const finish = () => {
      timer.cancel();
      signal?.removeEventListener("abort", finish);
      resolve();
    };
    const timer = clock.setTimer(delayMs, finish);
    signal?.addEventListener("abort", finish, { once: true });
  });
}
