/**
 * Where the program is in its life. `starting`: not ready, may serve. `ready`: send traffic. `draining`: not ready any more, what
 * is open ends. `stopped`: nothing is left to do.
 */
export type LifecyclePhase = "starting" | "ready" | "draining" | "stopped";

/** A latch: phases follow each other in order, may be skipped, and never come back. */
export interface Lifecycle {
  readonly phase: LifecyclePhase;
  /** Goes to a later phase and tells the listeners; false, and nothing happens, where the program is there already or beyond. */
  advance(to: LifecyclePhase): boolean;
  /** Registers a listener for the program's life; it is called after the change, in the order of registration. */
  onChange(listener: (phase: LifecyclePhase) => void): void;
}

const ORDER: readonly LifecyclePhase[] = ["starting", "ready", "draining", "stopped"];

export function createLifecycle(): Lifecycle {
  let phase: LifecyclePhase = "starting";
  const listeners: ((phase: LifecyclePhase) => void)[] = [];
  return {
    get phase() {
      return phase;
    },
    advance(to) {
      if (ORDER.indexOf(to) <= ORDER.indexOf(phase)) return false;
      phase = to;
      for (const listener of listeners) listener(to);
      return true;
    },
    onChange(listener) {
      listeners.push(listener);
    },
  };
}
