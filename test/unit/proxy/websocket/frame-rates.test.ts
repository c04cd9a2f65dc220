import { describe, expect, test } from "bun:test";

import { createFrameRates, type FrameRate } from "../../../../src/proxy/websocket/frame-rates.ts";

/** How many frames pass at `nowMs`. */
function countPassing(rate: FrameRate, nowMs: number, max = 1_000_000): number {
  let passed = 0;
  while (passed < max && rate.tryTake(nowMs)) passed++;
  return passed;
}

const payers = (sandboxUid: string, clientNetwork: string) => ({ sandboxUid, clientNetwork });

describe("createFrameRates", () => {
  test("one direction of a tunnel may send a second's worth at once, then its rate; the other direction has its own", () => {
    const { fromClient, fromSandbox } = createFrameRates(100).join(payers("a", "1"), 0);
    expect(countPassing(fromClient, 0)).toBe(100);
    expect(countPassing(fromClient, 250)).toBe(25);
    expect(countPassing(fromSandbox, 250)).toBe(100);
    expect(countPassing(fromClient, 60_000)).toBe(100);
  });

  test.each([
    ["a sandbox, over many clients", (i: number) => payers("a", String(i))],
    ["a client, over many sandboxes", (i: number) => payers(String(i), "1")],
  ])("all tunnels of %s have 64 times the rate of one", (_name, payersOf) => {
    const rates = createFrameRates(10);
    const joined = Array.from({ length: 200 }, (_, i) => rates.join(payersOf(i), 0));
    const total = (nowMs: number): number =>
      joined.reduce((sum, { fromClient, fromSandbox }) => {
        return sum + countPassing(fromClient, nowMs) + countPassing(fromSandbox, nowMs);
      }, 0);
    expect(total(0)).toBe(640);
    expect(total(1_000)).toBe(640);
  });

  test("leaving and joining again does not give a new sum; a sum goes when nobody uses it and it is full", () => {
    const rates = createFrameRates(10);
    let passed = 0;
    for (let i = 0; i < 200; i++) {
      const tunnel = rates.join(payers("a", "1"), 0);
      passed += countPassing(tunnel.fromClient, 0);
      tunnel.leave();
      rates.sweep(0);
    }
    expect(passed).toBe(640);
    expect(rates.size).toBe(2);
    rates.sweep(1_000);
    expect(rates.size).toBe(0);
  });

  test("keeps only the sums of open tunnels, however many come and go", () => {
    const rates = createFrameRates(10);
    const stays = rates.join(payers("stays", "stays"), 0);
    for (let i = 0; i < 10_000; i++) rates.join(payers(`s${i}`, `c${i}`), 0).leave();
    rates.sweep(1);
    expect(rates.size).toBe(2);
    stays.leave();
    rates.sweep(1);
    expect(rates.size).toBe(0);
  });

  test("0 is no limit", () => {
    expect(countPassing(createFrameRates(0).join(payers("a", "1"), 0).fromClient, 0, 10_000)).toBe(10_000);
  });
});
