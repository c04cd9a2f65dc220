import type { Clock } from "../../../src/clock.ts";

/** A clock that stands still until it is told to move; fires timers when it passes them. */
export interface FakeClock extends Clock {
  /** Moves both times forward by `ms` and fires what is due, in order. */
  advance(ms: number): void;
  /** Sets the wall clock alone, as an administrator or NTP would. */
  setWallClock(nowMs: number): void;
}

/** @param nowMs Wall-clock time to begin with; monotonic time begins at 0. */
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
