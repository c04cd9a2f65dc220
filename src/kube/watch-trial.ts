import type { Clock, Timer } from "../clock.ts";
import { KubeError } from "./errors.ts";

/**
 * Decides whether a watch works: it has lived long enough, or has delivered a change. Acceptance alone proves nothing.
 */
export interface WatchTrial {
  /** Call it when the server has accepted the watch. */
  begin(): void;
  /** Call it when the watch has delivered a change. */
  pass(): void;
  /** Call it when the watch is over. */
  end(): void;
  /** For a watch that ended in order. Throws KubeError `unreachable` if it ended too soon. */
  checkDuration(): void;
}

/**
 * @param options `minMs`: how long a working watch lives at least, in milliseconds. `onPass`: called once, when it
 * works.
 */
export function createWatchTrial(
  clock: Clock,
  options: { readonly minMs: number; readonly onPass: () => void },
): WatchTrial {
  const startedMs = clock.monotonic();
  let timer: Timer | undefined;
  let hasPassed = false;
  const pass = () => {
    if (!hasPassed) options.onPass();
    hasPassed = true;
  };
  return {
    begin() {
      timer = clock.setTimer(options.minMs, pass);
    },
    pass,
    end: () => timer?.cancel(),
    checkDuration() {
      if (clock.monotonic() - startedMs >= options.minMs) return;
      throw new KubeError("unreachable", "the watch ended right after it began");
    },
  };
}
