/**
 * The program's phase. `starting`: not ready, may serve. `ready`: gets traffic. `draining`: not ready any more; open
 * requests end. `stopped`: finished.
 */
export type LifecyclePhase = "starting" | "ready" | "draining" | "stopped";

/** A latch: phases follow each other in order. They may be skipped, and never come back. */
export interface Lifecycle {
  readonly phase: LifecyclePhase;
  /** Enters a later phase and calls the listeners. Returns false and does nothing if the phase is already reached. */
  advance(to: LifecyclePhase): boolean;
  /**
   * Registers a listener for the program's life. Listeners are called after the change, in the order of registration.
   */
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
