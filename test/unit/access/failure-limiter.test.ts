import { describe, expect, test } from "bun:test";
import {
  createFailureLimiter,
  FAILURE_BURST,
  FAILURE_PAIRS_MAX,
  FAILURE_REFILL_MS,
  type FailureLimiter,
  type FailurePair,
} from "../../../src/access/failure-limiter.ts";
import { createFakeClock } from "../../../scripts/lib/stage/fake-clock.ts";
import { createRandom } from "../../../scripts/lib/stage/random.ts";

const PAIR: FailurePair = { sandboxUid: "uid-1", clientAddress: "203.0.113.7" };
const SEED = 11;

function fail(limiter: FailureLimiter, pair: FailurePair, times: number): void {
  for (let left = times; left > 0; left--) limiter.record(pair);
}

describe("createFailureLimiter", () => {
  test("the limiter throttles a pair after its burst, and again lets it try once per refill", () => {
    const clock = createFakeClock();
    const limiter = createFailureLimiter({ clock });
    fail(limiter, PAIR, FAILURE_BURST - 1);
    expect(limiter.isThrottled(PAIR)).toBe(false);
    limiter.record(PAIR);
    expect(limiter.isThrottled(PAIR)).toBe(true);
    clock.advance(FAILURE_REFILL_MS - 1);
    expect(limiter.isThrottled(PAIR)).toBe(true);
    clock.advance(1);
    expect(limiter.isThrottled(PAIR)).toBe(false);
    limiter.record(PAIR);
    expect(limiter.isThrottled(PAIR)).toBe(true);
  });

  test("the limiter forgives a pair in full after a quiet time, however often it failed", () => {
    const clock = createFakeClock();
    const limiter = createFailureLimiter({ clock });
    fail(limiter, PAIR, 10 * FAILURE_BURST);
    clock.advance(FAILURE_BURST * FAILURE_REFILL_MS);
    fail(limiter, PAIR, FAILURE_BURST - 1);
    expect(limiter.isThrottled(PAIR)).toBe(false);
  });

  test("the limiter counts each sandbox and each client for itself", () => {
    const limiter = createFailureLimiter({ clock: createFakeClock() });
    fail(limiter, PAIR, FAILURE_BURST);
    expect(limiter.isThrottled(PAIR)).toBe(true);
    expect(limiter.isThrottled({ ...PAIR, sandboxUid: "uid-2" })).toBe(false);
    expect(limiter.isThrottled({ ...PAIR, clientAddress: "203.0.113.8" })).toBe(false);
  });

  test.each([
    ["2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff", true],
    ["2001:db8:1:2::1", "2001:db8:1:3::1", false],
    ["2001:db8::1", "2001:db8:0:0:1:2:3:4", true],
    ["2001:db8::1", "2001:db8:0:1::1", false],
    ["::1", "::2", true],
    ["1:2:3:4::", "1:2:3:4:5:6:7:8", true],
    ["::ffff:203.0.113.7", "203.0.113.7", true],
    ["::ffff:203.0.113.7", "::ffff:203.0.113.8", false],
    ["203.0.113.7", "203.0.113.8", false],
    ["", "203.0.113.7", false],
    ["no:address", "other:text", false],
  ])("the limiter takes %p and %p for the same client: %p", (first, second, isSame) => {
    const limiter = createFailureLimiter({ clock: createFakeClock() });
    fail(limiter, { ...PAIR, clientAddress: first }, FAILURE_BURST);
    expect(limiter.isThrottled({ ...PAIR, clientAddress: second })).toBe(isSame);
  });

  test("the limiter does not care about steps of the wall clock", () => {
    const clock = createFakeClock(1e12);
    const limiter = createFailureLimiter({ clock });
    fail(limiter, PAIR, FAILURE_BURST);
    clock.setWallClock(2e12);
    expect(limiter.isThrottled(PAIR)).toBe(true);
    clock.setWallClock(0);
    clock.advance(FAILURE_REFILL_MS);
    expect(limiter.isThrottled(PAIR)).toBe(false);
  });

  test("the limiter remembers at most its maximum, and drops what has been forgiven", () => {
    const clock = createFakeClock();
    const limiter = createFailureLimiter({ clock });
    for (let each = 0; each < FAILURE_PAIRS_MAX + 1_000; each++) limiter.record({ ...PAIR, sandboxUid: `uid-${each}` });
    expect(limiter.size()).toBe(FAILURE_PAIRS_MAX);
    clock.advance(3 * FAILURE_REFILL_MS);
    limiter.record(PAIR);
    expect(limiter.size()).toBe(1);
  });

  test("a flood of other pairs neither forgets a throttled pair nor throttles anybody else", () => {
    const clock = createFakeClock();
    const limiter = createFailureLimiter({ clock, maxPairs: 100 });
    fail(limiter, PAIR, FAILURE_BURST);
    for (let each = 0; each < 10_000; each++) {
      const other = { sandboxUid: `uid-${each}`, clientAddress: `203.0.113.${each % 256}` };
      expect(limiter.isThrottled(other)).toBe(false);
      limiter.record(other);
    }
    expect(limiter.isThrottled(PAIR)).toBe(true);
    expect(limiter.size()).toBe(100);
  });

  test("a new pair is counted although the table is full of worse ones", () => {
    const limiter = createFailureLimiter({ clock: createFakeClock(), maxPairs: 10 });
    for (let each = 0; each < 10; each++) fail(limiter, { ...PAIR, sandboxUid: `bad-${each}` }, FAILURE_BURST);
    fail(limiter, PAIR, FAILURE_BURST);
    expect(limiter.isThrottled(PAIR)).toBe(true);
    expect(limiter.size()).toBe(10);
  });

  test(`the limiter equals a table without bounds while there is room, and never throttles more (seed ${SEED})`, () => {
    for (const maxPairs of [5, 1_000]) {
      const clock = createFakeClock();
      const limiter = createFailureLimiter({ clock, maxPairs });
      const forgivenAtMs = new Map<string, number>();
      const random = createRandom(SEED);
      let throttled = 0;
      for (let round = 0; round < 20_000; round++) {
        clock.advance(random.integer(FAILURE_REFILL_MS / 4));
        const sandboxUid = `uid-${Math.floor(random.integer(4) ** 2 * (1 + random.integer(3)))}`;
        const now = clock.monotonic();
        const at = forgivenAtMs.get(sandboxUid) ?? 0;
        const expected = at - now > (FAILURE_BURST - 1) * FAILURE_REFILL_MS;
        const actual = limiter.isThrottled({ ...PAIR, sandboxUid });
        if (maxPairs === 1_000) expect(actual).toBe(expected);
        else if (!expected) expect(actual).toBe(false);
        if (actual) throttled++;
        else {
          limiter.record({ ...PAIR, sandboxUid });
          forgivenAtMs.set(sandboxUid, Math.max(at, now) + FAILURE_REFILL_MS);
        }
        expect(limiter.size()).toBeLessThanOrEqual(maxPairs);
      }
      expect(throttled).toBeGreaterThan(100);
    }
  });
});
