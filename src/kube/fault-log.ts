import type { Clock } from "../clock.ts";
import type { Logger } from "../log/logger.ts";

/** The first repetition of an unchanged fault comes after this many milliseconds, the next after twice that … */
const REPEAT_FIRST_MS = 5000;
/** … up to this: whoever looks at the last minute of a log sees what is wrong. */
const REPEAT_MAX_MS = 60_000;

/** Says a fault when it begins, again and again while it lasts, and once that it is over. */
export interface FaultLog {
  /** @param key What kind of fault it is: another kind is said at once. @param text The whole line. */
  report(key: string, text: string): void;
  /** All is well; said if a fault was. */
  clear(text: string): void;
}

export function createFaultLog(logger: Logger, clock: Clock): FaultLog {
  let current: { readonly key: string; repeatMs: number; nextMs: number; readonly sinceMs: number } | undefined;
  return {
    report(key, text) {
      const nowMs = clock.monotonic();
      if (current?.key !== key) {
        current = {
          key,
          repeatMs: REPEAT_FIRST_MS,
          nextMs: nowMs + REPEAT_FIRST_MS,
          sinceMs: current?.sinceMs ?? nowMs,
        };
        return logger.error(text);
      }
      if (nowMs < current.nextMs) return logger.debug(text);
      current.repeatMs = Math.min(current.repeatMs * 2, REPEAT_MAX_MS);
      current.nextMs = nowMs + current.repeatMs;
      logger.error(text);
    },
    clear(text) {
      if (current === undefined) return;
      const seconds = ((clock.monotonic() - current.sinceMs) / 1000).toFixed(1);
      current = undefined;
      logger.info(`${text} after ${seconds} s`);
    },
  };
}
