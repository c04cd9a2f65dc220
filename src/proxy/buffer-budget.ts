/** A bound on the bytes that all requests together may hold in memory for one purpose. */
export interface BufferBudget {
  /** Takes `bytes` and returns true, or takes nothing and returns false where they would exceed the bound. */
  tryTake(bytes: number): boolean;
  /** Gives back what `tryTake` took. */
  release(bytes: number): void;
}

/** @param maxBytes The bound; 0 means that nothing may be held. */
export function createBufferBudget(maxBytes: number): BufferBudget {
  let held = 0;
  return {
    tryTake(bytes) {
      if (held + bytes > maxBytes) return false;
      held += bytes;
      return true;
    },
    release(bytes) {
      held -= bytes;
    },
  };
}
