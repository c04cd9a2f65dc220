import { expect, test } from "bun:test";
import { type StopOrder, StopSignals } from "../../../src/process/stop-signals.ts";

test.each<[what: string, received: readonly (readonly [string, number])[], orders: readonly StopOrder[]]>([
  ["one signal begins the drain", [["SIGTERM", 5]], ["drain"]],
  [
    "the same within 200 ms is its echo",
    [
      ["SIGTERM", 5],
      ["SIGTERM", 5],
      ["SIGTERM", 204.9],
    ],
    ["drain", "ignore", "ignore"],
  ],
  [
    "the same later ends at once",
    [
      ["SIGINT", 5],
      ["SIGINT", 205],
    ],
    ["drain", "exit"],
  ],
  [
    "an echo does not prolong the time",
    [
      ["SIGINT", 0],
      ["SIGINT", 150],
      ["SIGINT", 250],
    ],
    ["drain", "ignore", "exit"],
  ],
  [
    "another one ends at once",
    [
      ["SIGTERM", 5],
      ["SIGINT", 6],
    ],
    ["drain", "exit"],
  ],
])("StopSignals: %s", (_what, received, orders) => {
  const signals = new StopSignals();
  expect(received.map(([signal, nowMs]) => signals.receive(signal, nowMs))).toEqual([...orders]);
});
