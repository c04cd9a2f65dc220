/** A small seeded generator (mulberry32), so that a failing fuzz run can be repeated. */
export interface SeededRandom {
  /** At least 0, less than 1. */
  next(): number;
  /** An integer of at least 0 and less than `end`. */
  below(end: number): number;
  /** One of the items; the list is not empty. */
  pick<T>(items: readonly [T, ...T[]]): T;
}

export function seededRandom(seed: number): SeededRandom {
  let state = seed >>> 0;
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  return {
    next,
    below: (end) => Math.floor(next() * end),
    pick: (items) => items[Math.floor(next() * items.length)] ?? items[0],
  };
}
