import { systemClock, type Clock } from "../../src/clock.ts";

/** The machine's clock in a hurry: what is to be waited for comes `factor` times sooner; what was asked for is kept. */
export interface HurriedClock extends Clock {
  /** The delays asked for so far, in milliseconds. */
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
