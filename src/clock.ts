/** A running timer. Cancelling a timer that has fired is harmless. */
export interface Timer {
  cancel(): void;
}

/** Time as the program sees it. Tests put a fake clock here. */
export interface Clock {
  /** Wall-clock time in milliseconds since the epoch; it may jump. For time stamps and expiries. */
  now(): number;
  /** Milliseconds from an arbitrary start; never goes back. For durations. */
  monotonic(): number;
  /** Calls `fire` once after `delayMs` (0: in the next turn of the event loop). Does not keep the process alive. */
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
 * Resolves after `delayMs`, or as soon as `signal` aborts; never rejects. A caller that needs the difference checks
 * `signal.aborted`.
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
