import { expect, test } from "bun:test";

import { Pulse } from "../../../../src/proxy/websocket/pulse.ts";

test("Pulse asks a silent peer twice, then gives it up; a beat restarts the count", () => {
  const pulse = new Pulse(0);
  const verdicts = [10, 99, 100, 150, 200, 299, 300].map((now) => pulse.check(now, 100));
  expect(verdicts).toEqual(["alive", "alive", "ask", "alive", "ask", "alive", "dead"]);
  const answered = new Pulse(0);
  expect([answered.check(100, 100), answered.check(200, 100)]).toEqual(["ask", "ask"]);
  answered.beat();
  expect([300, 399, 400, 500].map((now) => answered.check(now, 100))).toEqual(["alive", "alive", "ask", "ask"]);
});

test("Pulse asks before it judges, if the program itself was stopped for long", () => {
  const pulse = new Pulse(0);
  expect([1_000_000, 1_000_001, 1_000_100, 1_000_200].map((now) => pulse.check(now, 100))).toEqual([
    "ask",
    "alive",
    "ask",
    "dead",
  ]);
});
