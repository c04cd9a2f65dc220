import type { Clock, Timer } from "../clock.ts";
import { KubeError } from "./errors.ts";

/** Finds out whether a watch works: it has lived for a moment, or brought something. To be accepted alone says nothing. */
export interface WatchTrial {
  /** The server has accepted the watch. */
  begin(): void;
  /** The watch has brought something. */
  pass(): void;
  /** The watch is over. */
  end(): void;
  /** For a watch that ended in order. Throws KubeError `unreachable` where it ended too soon. */
  checkDuration(): void;
}

/** @param options `minMs`: how long a watch that works lives, in milliseconds. `onPass`: called once, when it works. */
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
      throw new KubeError("unreachable", "the watch ended as soon as it began");
    },
  };
}
