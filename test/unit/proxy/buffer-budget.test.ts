import { expect, test } from "bun:test";

import { BudgetShare, createBufferBudget } from "../../../src/proxy/buffer-budget.ts";

test("createBufferBudget takes whole amounts or nothing, up to its bound", () => {
  const budget = createBufferBudget(10);
  expect([budget.tryTake(6), budget.tryTake(5), budget.tryTake(4), budget.tryTake(1)]).toEqual([
    true,
    false,
    true,
    false,
  ]);
  budget.release(4);
  expect([budget.tryTake(4), budget.tryTake(0)]).toEqual([true, true]);
  expect(createBufferBudget(0).tryTake(1)).toBe(false);
});

test("BudgetShare grows and shrinks within the bound, and keeps what it had where it cannot grow", () => {
  const budget = createBufferBudget(10);
  const first = new BudgetShare(budget);
  const second = new BudgetShare(budget);
  expect([first.tryHold(8), second.tryHold(3), second.tryHold(2), first.tryHold(9)]).toEqual([
    true,
    false,
    true,
    false,
  ]);
  expect([first.tryHold(0), second.tryHold(10), second.tryHold(11), second.tryHold(0)]).toEqual([
    true,
    true,
    false,
    true,
  ]);
  expect(budget.tryTake(10)).toBe(true);
});
