import type { Clock } from "../clock.ts";
import type { Logger } from "../log/logger.ts";

/** Lines in a window, and its length in milliseconds: a controller that goes wrong must not fill the log. */
const LINES_MAX = 20;
const WINDOW_MS = 60_000;

/**
 * Gives a function that warns at most 20 times in a minute.
 *
 * @param describeUnsaid The line that says, after the minute, how many warnings were left out.
 */
export function createLimitedWarnings(
  logger: Pick<Logger, "warn">,
  clock: Clock,
  describeUnsaid: (unsaid: number) => string,
): (message: string) => void {
  let windowStartMs = Number.NEGATIVE_INFINITY;
  let lines = 0;
  let unsaid = 0;
  return (message) => {
    const nowMs = clock.monotonic();
    if (nowMs - windowStartMs >= WINDOW_MS) {
      if (unsaid > 0) logger.warn(describeUnsaid(unsaid));
      windowStartMs = nowMs;
      lines = 0;
      unsaid = 0;
    }
    lines += 1;
    if (lines > LINES_MAX) unsaid += 1;
    else logger.warn(message);
  };
}
