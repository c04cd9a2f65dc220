import { describe, expect, test } from "bun:test";

import { isFairRequest, isFairShare } from "../../../../src/proxy/exchange/share.ts";

/** What `takers` greedy users have, and what is left, if each takes as often as it may. */
function takeGreedily(total: number, takers: number, isFair: (held: number, free: number) => boolean) {
  const held = Array.from({ length: takers }, () => 0);
  let free = total;
  for (let hasTaken = true; hasTaken && free > 0;) {
    hasTaken = false;
    for (let at = 0; at < takers; at++) {
      const mine = held[at] ?? 0;
      if (free === 0 || !isFair(mine, free)) continue;
      held[at] = mine + 1;
      free--;
      hasTaken = true;
    }
  }
  return { held, free };
}

describe("fair shares", () => {
  test("isFairRequest leaves half to others beside one greedy user, and a third beside two", () => {
    const one = takeGreedily(999, 1, isFairRequest);
    expect(one.free).toBeGreaterThanOrEqual(498);
    const two = takeGreedily(999, 2, isFairRequest);
    expect(two.free).toBeGreaterThanOrEqual(332);
    expect(Math.abs((two.held[0] ?? 0) - (two.held[1] ?? 0))).toBeLessThanOrEqual(1);
  });

  test("isFairRequest admits a new user while anything is free", () => {
    const { free } = takeGreedily(999, 9, isFairRequest);
    expect(free).toBeGreaterThan(0);
    expect(isFairRequest(0, free)).toBe(true);
  });

  test("isFairShare never lets a user have more than is free afterwards", () => {
    const { held, free } = takeGreedily(999, 2, (mine, left) => isFairShare(mine, 1, left));
    for (const mine of held) expect(mine).toBeLessThanOrEqual(free);
    expect(free).toBeGreaterThanOrEqual(333);
    expect(isFairShare(0, 600, 999)).toBe(false);
    expect(isFairShare(0, 499, 999)).toBe(true);
  });
});
