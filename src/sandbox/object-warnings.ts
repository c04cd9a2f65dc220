import type { Clock } from "../clock.ts";
import type { Logger } from "../log.ts";

/** Objects whose last warning is remembered, so that it is not said again at each of their changes. */
const REMEMBERED_MAX = 1000;
/** Lines in a window, and its length in milliseconds: a controller gone wrong must not fill the log. */
const LINES_MAX = 20;
const WINDOW_MS = 60_000;

/** Says what is wrong with an object: once for each object and reason, and not too often in all. */
export interface ObjectWarnings {
  /** @param object Its namespace and name. @param warning Undefined: nothing is wrong (any more). */
  report(object: string, warning: string | undefined): void;
}

export function createObjectWarnings(logger: Logger, clock: Clock): ObjectWarnings {
  const remembered = new Map<string, string>();
  let windowStartMs = Number.NEGATIVE_INFINITY;
  let lines = 0;
  let unsaid = 0;

  function say(object: string, warning: string): void {
    const nowMs = clock.monotonic();
    if (nowMs - windowStartMs >= WINDOW_MS) {
      if (unsaid > 0) logger.warn(`Kubernetes: ${unsaid} more objects with something wrong were not named`);
      windowStartMs = nowMs;
      lines = 0;
      unsaid = 0;
    }
    lines += 1;
    if (lines > LINES_MAX) unsaid += 1;
    else logger.warn(`Kubernetes: ${object}: ${warning}`);
  }

  return {
    report(object, warning) {
      if (warning === undefined) {
        if (remembered.size > 0) remembered.delete(object);
        return;
      }
      if (remembered.get(object) === warning) return;
      const oldest = remembered.size >= REMEMBERED_MAX ? remembered.keys().next().value : undefined;
      if (oldest !== undefined) remembered.delete(oldest);
      remembered.set(object, warning);
      say(object, warning);
    },
  };
}
