import type { Clock } from "../clock.ts";
import type { HistogramCell } from "./cells.ts";

/** How often the event loop is asked, in milliseconds: seldom enough to cost nothing, often enough to see a stall. */
const SAMPLE_INTERVAL_MS = 100;

/** Records by how many milliseconds timers fire late: the time that every request waits too. Returns how to stop. */
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
