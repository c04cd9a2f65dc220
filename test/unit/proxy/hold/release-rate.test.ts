import { describe, expect, test } from "bun:test";

import { ReleaseRate } from "../../../../src/proxy/hold/release-rate.ts";

/** How many may go on at a time. */
function countNow(rate: ReleaseRate, nowMs: number): number {
  let count = 0;
  while (count < 1_000 && rate.take(nowMs)) count += 1;
  return count;
}

describe("ReleaseRate", () => {
  test("ReleaseRate lets one request go at once, and then its number per second", () => {
    const rate = new ReleaseRate(100, 0);
    expect(countNow(rate, 0)).toBe(1);
    let count = 0;
    for (let nowMs = rate.intervalMs; nowMs <= 1_000; nowMs += rate.intervalMs) count += countNow(rate, nowMs);
    expect(count).toBe(100);
  });

  test("ReleaseRate makes up for a late timer, but not for a long silence", () => {
    const rate = new ReleaseRate(100, 0);
    expect(countNow(rate, 0)).toBe(1);
    expect(countNow(rate, 50)).toBe(5);
    expect(countNow(rate, 10_000)).toBe(10);
  });

  test("ReleaseRate below one in a timer's lateness still lets one go", () => {
    const rate = new ReleaseRate(1, 0);
    expect(countNow(rate, 0)).toBe(1);
    expect(countNow(rate, 999)).toBe(0);
    expect(countNow(rate, 1_000)).toBe(1);
  });

  test("ReleaseRate 0 has no limit", () => {
    expect(countNow(new ReleaseRate(0, 0), 0)).toBe(1_000);
  });
});
