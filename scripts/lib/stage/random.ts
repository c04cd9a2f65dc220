/** A seeded source of random numbers, so that a failing run can be repeated. Not for secrets. */
export interface Random {
  /** An integer in [0, below). */
  integer(below: number): number;
  /** One of the values. */
  pick<T>(values: readonly [T, ...T[]]): T;
  /** A text of `length` characters of the alphabet. */
  text(alphabet: string, length: number): string;
}

/** Mulberry32 (public domain, Tommy Ettinger): 32 bits of state are plenty to choose test input. */
export function createRandom(seed: number): Random {
  let state = seed >>> 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  const integer = (below: number): number => Math.floor(next() * below);
  return {
    integer,
    pick: (values) => values[integer(values.length)] ?? values[0],
    text: (alphabet, length) => Array.from({ length }, () => alphabet.charAt(integer(alphabet.length))).join(""),
  };
}
