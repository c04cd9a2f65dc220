import type { Clock, Timer } from "../clock.ts";

/** Calls back when nothing has happened for too long. */
export interface Deadline {
  /** Restarts the time. */
  touch(): void;
  cancel(): void;
}

/** @param maxMs The longest time without a `touch`, in milliseconds. */
export function createDeadline(clock: Clock, maxMs: number, options: { readonly onExpire: () => void }): Deadline {
  let touchedMs = clock.monotonic();
  // One timer serves many touches: if it fires early, it is set again for the remaining time.
  const check = () => {
    const leftMs = touchedMs + maxMs - clock.monotonic();
    if (leftMs <= 0) options.onExpire();
    else timer = clock.setTimer(leftMs, check);
  };
  let timer: Timer = clock.setTimer(maxMs, check);
  return {
    touch() {
      touchedMs = clock.monotonic();
    },
    cancel() {
      timer.cancel();
    },
  };
}

/** Settles like `promise`, or rejects with the signal's reason as soon as it aborts. */
export async function orAbort<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const onAbort = () => reject(signal.reason);
  if (signal.aborted) onAbort();
  else signal.addEventListener("abort", onAbort, { once: true });
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}
