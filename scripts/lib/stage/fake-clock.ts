import type { Clock } from "../../../src/clock.ts";

/** A clock that only moves when told to. It fires the timers that it passes. */
export interface FakeClock extends Clock {
  /** Moves both times forward by `ms` and fires due timers, in order. */
  advance(ms: number): void;
  /** Sets only the wall clock, as an administrator or NTP would. */
  setWallClock(nowMs: number): void;
}

/** @param nowMs The initial wall-clock time. Monotonic time begins at 0. */
export function createFakeClock(nowMs = 0): FakeClock {
  let wallOffsetMs = nowMs;
  let elapsedMs = 0;
  const timers = new Set<{ readonly atMs: number; readonly fire: () => void }>();
  return {
    now: () => wallOffsetMs + elapsedMs,
    monotonic: () => elapsedMs,
    setTimer(delayMs, fire) {
      const timer = { atMs: elapsedMs + delayMs, fire };
      timers.add(timer);
      return { cancel: () => void timers.delete(timer) };
    },
    advance(ms) {
      const endMs = elapsedMs + ms;
      for (;;) {
        const [due] = [...timers].filter((timer) => timer.atMs <= endMs).toSorted((a, b) => a.atMs - b.atMs);
        if (due === undefined) break;
        timers.delete(due);
        elapsedMs = Math.max(elapsedMs, due.atMs);
        due.fire();
      }
      elapsedMs = endMs;
    },
    setWallClock: (toMs) => {
      wallOffsetMs = toMs - elapsedMs;
    },
  };
}
