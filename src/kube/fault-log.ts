import type { Clock } from "../clock.ts";
import type { Logger } from "../log/logger.ts";

/** Milliseconds before an unchanged fault is logged again. The interval doubles each time … */
const REPEAT_FIRST_MS = 5000;
/** … up to this limit, so that the last minute of a log always shows a lasting fault. */
const REPEAT_MAX_MS = 60_000;

/** Logs a fault when it begins, repeats it while it lasts, and logs its end. */
export interface FaultLog {
  /** @param key The kind of the fault. A new kind is logged at once. @param text The whole line. */
  report(key: string, text: string): void;
  /** Ends the fault, if there is one, and logs the text. */
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
