import { describe, expect, test } from "bun:test";

import { createFakeClock } from "../../../../scripts/lib/stage/fake-clock.ts";
import { SandboxRates } from "../../../../src/proxy/exchange/sandbox-rates.ts";
import { lowerRate, parseRate, type Rate } from "../../../../src/quantity.ts";

/** How many of `tries` requests at once may come. */
function takeAll(rates: SandboxRates, uid: string, options: { readonly rate: Rate; readonly tries: number }): number {
  let taken = 0;
  for (let at = 0; at < options.tries; at++) {
    if (rates.waitMs(uid, options.rate) > 0) continue;
    rates.add(uid, options.rate);
    taken += 1;
  }
  return taken;
}

describe("SandboxRates", () => {
  test.each(["1/s", "3/s", "7/m", "100/s", "1000/s", "9999/s", "1/h", "1/m"])(
    "SandboxRates lets %s through at once, and as many in each further time",
    (text) => {
      const clock = createFakeClock();
      const rates = new SandboxRates(clock);
      const rate = parseRate(text);
      const tries = rate.burst + 10;
      // Far from 0, sums of fractions are less exact.
      clock.advance(100_000_000.3);
      for (let time = 0; time < 3; time++) {
        expect(takeAll(rates, "a", { rate, tries })).toBe(rate.burst);
        clock.advance(rate.burst * rate.leakMs);
      }
    },
  );

  test("SandboxRates says how long to wait, and no request that waited so long is refused", () => {
    const clock = createFakeClock();
    const rates = new SandboxRates(clock);
    const rate = parseRate("2/m");
    takeAll(rates, "a", { rate, tries: 2 });
    expect(rates.waitMs("a", rate)).toBe(30_000);
    clock.advance(20_000);
    expect(rates.waitMs("a", rate)).toBe(10_000);
    clock.advance(10_000);
    expect(takeAll(rates, "a", { rate, tries: 5 })).toBe(1);
  });

  test("SandboxRates counts each sandbox alone, and forgets one that is gone", () => {
    const rates = new SandboxRates(createFakeClock());
    const rate = parseRate("1/h");
    expect(["a", "b", "a"].map((uid) => takeAll(rates, uid, { rate, tries: 2 }))).toEqual([1, 1, 0]);
    rates.forget("a");
    expect(takeAll(rates, "a", { rate, tries: 2 })).toBe(1);
  });

  test("SandboxRates counts by a new rate at once", () => {
    const clock = createFakeClock();
    const rates = new SandboxRates(clock);
    takeAll(rates, "a", { rate: parseRate("5/h"), tries: 5 });
    const rate = parseRate("100/s");
    expect(rates.waitMs("a", rate)).toBe(10);
    clock.advance(1_000);
    expect(takeAll(rates, "a", { rate, tries: 200 })).toBe(100);
  });

  test("SandboxRates remembers a bounded number, and those with the latest requests", () => {
    const rates = new SandboxRates(createFakeClock(), 10);
    const rate = parseRate("1/h");
    for (let at = 0; at < 1_000; at++) rates.add(`s${at}`, rate);
    expect(rates.size).toBe(10);
    expect(rates.waitMs("s999", rate)).toBeGreaterThan(0);
    expect(rates.waitMs("s0", rate)).toBe(0);
  });

  test("SandboxRates forgets sandboxes without recent requests", () => {
    const clock = createFakeClock();
    const rates = new SandboxRates(clock);
    const rate = parseRate("10/s");
    for (let at = 0; at < 100; at++) rates.add(`s${at}`, rate);
    clock.advance(10_000);
    for (let at = 0; at < 60; at++) rates.add("busy", rate);
    expect(rates.size).toBe(1);
  });
});

test.each([
  ["100/s", undefined, "100/s"],
  [undefined, "100/s", "100/s"],
  ["100/s", "50/s", "50/s"],
  ["50/s", "100/s", "50/s"],
])("lowerRate of %p and %p", (a, b, expected) => {
  const [one, other] = [a, b].map((text) => (text === undefined ? undefined : parseRate(text)));
  expect(lowerRate(one, other)).toEqual(parseRate(expected));
});

test("lowerRate exceeds neither rate at once nor in the long run", () => {
  expect(lowerRate(parseRate("100/s"), parseRate("3000/m"))).toEqual({ burst: 100, leakMs: 20 });
  expect(lowerRate(undefined, undefined)).toBeUndefined();
});
