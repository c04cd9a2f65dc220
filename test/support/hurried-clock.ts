import { systemClock, type Clock } from "../../src/clock.ts";

/** The machine's clock, but timers fire `factor` times sooner. The requested delays are recorded. */
export interface HurriedClock extends Clock {
  /** The requested delays so far, in milliseconds. */
  readonly delays: readonly number[];
}

export function createHurriedClock(factor: number): HurriedClock {
  const delays: number[] = [];
  return {
    delays,
    now: () => systemClock.now(),
    monotonic: () => systemClock.monotonic() * factor,
    setTimer(delayMs, fire) {
      delays.push(delayMs);
      return systemClock.setTimer(delayMs / factor, fire);
    },
  };
}
