import type { Clock } from "../clock.ts";
import type { HistogramCell } from "./cells.ts";

/**
 * How often the event loop is sampled, in milliseconds: rare enough to cost nothing, frequent enough to see a stall.
 */
const SAMPLE_INTERVAL_MS = 100;

/**
 * Records how late timers fire, in milliseconds; every request waits that long, too. Returns a function that stops it.
 */
export function watchEventLoop(clock: Clock, delays: HistogramCell): () => void {
  let timer = clock.setTimer(SAMPLE_INTERVAL_MS, () => sample(clock.monotonic()));
  let due = clock.monotonic() + SAMPLE_INTERVAL_MS;
  function sample(now: number): void {
    delays.record(Math.max(0, now - due));
    due = now + SAMPLE_INTERVAL_MS;
    timer = clock.setTimer(SAMPLE_INTERVAL_MS, () => sample(clock.monotonic()));
  }
  return () => timer.cancel();
}
