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

/** What one holder has of a budget, where it changes in both directions. */
export class BudgetShare {
  readonly #budget: BufferBudget;
  #held = 0;

  constructor(budget: BufferBudget) {
    this.#budget = budget;
  }

  /** Changes the share to `bytes`. Returns false, and changes nothing, where that would exceed the bound. */
  tryHold(bytes: number): boolean {
    const more = bytes - this.#held;
    if (more > 0 && !this.#budget.tryTake(more)) return false;
    if (more < 0) this.#budget.release(-more);
    this.#held = bytes;
    return true;
  }
}
