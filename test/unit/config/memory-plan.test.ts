import { describe, expect, test } from "bun:test";

import { BUDGET_MIN_BYTES, PROGRAM_BASE_BYTES, resolveMemoryPlan } from "../../../src/config/memory-plan.ts";
import type { MemoryLimit } from "../../../src/host/memory-limit.ts";

const MIB = 1024 * 1024;
const GIB = 1024 * MIB;
const derived = { memoryBudgetBytes: undefined, websocketMaxMessageBytes: undefined };
const containerOf = (bytes: number): MemoryLimit => ({ bytes, source: "container" });

test.each([128 * MIB, 256 * MIB, 512 * MIB, 2 * GIB, 64 * GIB])(
  "resolveMemoryPlan leaves the program its base and as much again as the budget, in a container of %d bytes",
  (bytes) => {
    const { budgetBytes, websocketMaxMessageBytes, warnings } = resolveMemoryPlan(derived, containerOf(bytes));
    expect(PROGRAM_BASE_BYTES + budgetBytes).toBeLessThanOrEqual(bytes + BUDGET_MIN_BYTES);
    if (budgetBytes > BUDGET_MIN_BYTES) expect(PROGRAM_BASE_BYTES + 2 * budgetBytes).toBeLessThanOrEqual(bytes);
    // One tunnel can carry the longest message, whole on both of its sides.
    expect(2 * websocketMaxMessageBytes).toBeLessThanOrEqual(budgetBytes);
    expect(websocketMaxMessageBytes).toBeLessThanOrEqual(bytes / 16);
    expect(warnings).toEqual(
      PROGRAM_BASE_BYTES + budgetBytes > bytes ? [expect.stringContaining("--memory-budget")] : [],
    );
  },
);

test("resolveMemoryPlan takes less of a machine than of a container", () => {
  const limit = { bytes: 16 * GIB, source: "machine" } as const;
  const { budgetBytes } = resolveMemoryPlan(derived, limit);
  expect(budgetBytes).toBe(Math.floor((16 * GIB - PROGRAM_BASE_BYTES) / 4));
  expect(budgetBytes).toBeLessThan(resolveMemoryPlan(derived, containerOf(16 * GIB)).budgetBytes);
});

test("resolveMemoryPlan allows messages of 64 MiB from a limit of 1 GiB on", () => {
  const messageOf = (bytes: number) => resolveMemoryPlan(derived, containerOf(bytes)).websocketMaxMessageBytes;
  expect([GIB / 2, GIB, 4 * GIB].map(messageOf)).toEqual([32 * MIB, 64 * MIB, 64 * MIB]);
});

test("resolveMemoryPlan returns the flags' values for any limit", () => {
  const given = { memoryBudgetBytes: 10 * MIB, websocketMaxMessageBytes: 5 * MIB };
  expect(resolveMemoryPlan(given, containerOf(GIB))).toEqual({
    budgetBytes: 10 * MIB,
    websocketMaxMessageBytes: 5 * MIB,
    warnings: [],
  });
});

describe("resolveMemoryPlan warns", () => {
  test("of a container too small for the program", () => {
    const { budgetBytes, warnings } = resolveMemoryPlan(derived, containerOf(64 * MIB));
    expect(budgetBytes).toBe(BUDGET_MIN_BYTES);
    expect(warnings).toEqual([expect.stringContaining("the 64MiB of the container")]);
  });

  test("of a budget that the limit cannot hold", () => {
    const { warnings } = resolveMemoryPlan({ ...derived, memoryBudgetBytes: GIB }, containerOf(GIB));
    expect(warnings).toEqual([expect.stringContaining("--memory-budget: 1024MiB")]);
  });

  test("of messages that the budget cannot carry", () => {
    const { warnings } = resolveMemoryPlan({ ...derived, websocketMaxMessageBytes: GIB }, containerOf(GIB));
    expect(warnings).toEqual([expect.stringContaining("--websocket-max-message: 1GiB")]);
  });
});
