import type { Clock, Timer } from "../clock.ts";

/** Calls back when nothing has happened for too long. */
export interface Deadline {
  /** Something happened: the time starts anew. */
  touch(): void;
  cancel(): void;
}

/** @param maxMs How long without a `touch` is too long, in milliseconds. */
export function createDeadline(clock: Clock, maxMs: number, options: { readonly onExpire: () => void }): Deadline {
  let touchedMs = clock.monotonic();
  // One timer for many touches: when it fires early it is set again for what is left.
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

/** Settles as `promise` does, or rejects with the signal's reason as soon as that aborts. */
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
