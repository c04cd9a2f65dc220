import { describe, expect, test } from "bun:test";
import { LeakyBuckets } from "../../../src/access/leaky-buckets.ts";
import { createFakeClock } from "../../../scripts/lib/stage/fake-clock.ts";
import { createRandom } from "../../../scripts/lib/stage/random.ts";

const BURST = 20;
const LEAK_MS = 6_000;
const SEED = 11;

function create(maxBuckets = 1_000) {
  const clock = createFakeClock(1e12);
  return { clock, buckets: new LeakyBuckets({ clock, burst: BURST, leakMs: LEAK_MS, maxBuckets }) };
}

function fill(buckets: LeakyBuckets, key: string, drops = BURST): void {
  for (let left = drops; left > 0; left--) buckets.add(key);
}

describe("LeakyBuckets", () => {
  test("a bucket is full after its burst, and takes one more drop for each that leaked", () => {
    const { clock, buckets } = create();
    fill(buckets, "a", BURST - 1);
    expect(buckets.isFull("a")).toBe(false);
    buckets.add("a");
    expect(buckets.isFull("a")).toBe(true);
    clock.advance(LEAK_MS - 1);
    expect(buckets.isFull("a")).toBe(true);
    clock.advance(1);
    expect(buckets.isFull("a")).toBe(false);
    buckets.add("a");
    expect(buckets.isFull("a")).toBe(true);
    expect(buckets.isFull("b")).toBe(false);
  });

  test("a bucket is empty after a quiet time, however much overflowed", () => {
    const { clock, buckets } = create();
    fill(buckets, "a", 10 * BURST);
    clock.advance(BURST * LEAK_MS);
    fill(buckets, "a", BURST - 1);
    expect(buckets.isFull("a")).toBe(false);
  });

  test("buckets do not care about steps of the wall clock", () => {
    const { clock, buckets } = create();
    fill(buckets, "a");
    clock.setWallClock(2e12);
    expect(buckets.isFull("a")).toBe(true);
    clock.setWallClock(0);
    clock.advance(LEAK_MS);
    expect(buckets.isFull("a")).toBe(false);
  });

  test("countFull counts those that are full now", () => {
    const { clock, buckets } = create();
    fill(buckets, "a");
    fill(buckets, "b");
    fill(buckets, "c", BURST - 1);
    expect(buckets.countFull()).toBe(2);
    clock.advance(LEAK_MS);
    expect(buckets.countFull()).toBe(0);
  });

  test("at most the maximum is remembered, and empty buckets are dropped", () => {
    const { clock, buckets } = create(5_000);
    for (let each = 0; each < 6_000; each++) buckets.add(`key-${each}`);
    expect(buckets.size).toBe(5_000);
    clock.advance(3 * LEAK_MS);
    buckets.add("a");
    expect(buckets.size).toBe(1);
  });

  test("a flood of other keys neither forgets a full bucket nor fills any other", () => {
    const { buckets } = create(100);
    fill(buckets, "a");
    for (let each = 0; each < 10_000; each++) {
      expect(buckets.isFull(`key-${each}`)).toBe(false);
      buckets.add(`key-${each}`);
    }
    expect(buckets.isFull("a")).toBe(true);
    expect(buckets.size).toBe(100);
  });

  test("a new key counts although the table is full of fuller ones", () => {
    const { buckets } = create(10);
    for (let each = 0; each < 10; each++) fill(buckets, `bad-${each}`);
    fill(buckets, "a");
    expect(buckets.isFull("a")).toBe(true);
    expect(buckets.size).toBe(10);
  });

  test(`buckets equal a table without bounds while there is room, and never are fuller (seed ${SEED})`, () => {
    for (const maxBuckets of [5, 1_000]) {
      const { clock, buckets } = create(maxBuckets);
      const emptyAtMs = new Map<string, number>();
      const random = createRandom(SEED);
      let full = 0;
      for (let round = 0; round < 20_000; round++) {
        clock.advance(random.integer(LEAK_MS / 4));
        const key = `key-${Math.floor(random.integer(4) ** 2 * (1 + random.integer(3)))}`;
        const now = clock.monotonic();
        const at = emptyAtMs.get(key) ?? 0;
        const expected = at - now > (BURST - 1) * LEAK_MS;
        const actual = buckets.isFull(key);
        if (maxBuckets === 1_000) expect(actual).toBe(expected);
        else if (!expected) expect(actual).toBe(false);
        if (actual) full++;
        else {
          buckets.add(key);
          emptyAtMs.set(key, Math.max(at, now) + LEAK_MS);
        }
        expect(buckets.size).toBeLessThanOrEqual(maxBuckets);
      }
      expect(full).toBeGreaterThan(100);
    }
  });
});
