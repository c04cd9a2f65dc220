/** A seeded source of random numbers, so that a fuzz test that fails can be run again with the same input. */
export interface Random {
  /** A whole number from 0 to `below` − 1. */
  int(below: number): number;
  pick<T>(items: readonly [T, ...T[]]): T;
  /** Up to `maxLength` characters from the alphabet. */
  text(alphabet: string, maxLength: number): string;
}

/** Mulberry32. */
export function createRandom(seed: number): Random {
  let state = seed >>> 0;
  const int = (below: number) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 0x1_0000_0000) * below);
  };
  return {
    int,
    pick: (items) => items[int(items.length)] ?? items[0],
    text: (alphabet, maxLength) => {
      const chars = alphabet.split("");
      return Array.from({ length: int(maxLength + 1) }, () => chars[int(chars.length)] ?? "").join("");
    },
  };
}
