import { describe, expect, test } from "bun:test";
import { ActivityWatch } from "../../../src/metrics/activity.ts";
import { createProxyCells } from "../../../src/metrics/proxy-cells.ts";
import { createFakeClock } from "../../../scripts/lib/stage/fake-clock.ts";

function stage() {
  const clock = createFakeClock();
  const cells = createProxyCells();
  const watch = new ActivityWatch(cells, clock);
  const end = (status: number, durationMs = 10, type: "http" | "websocket" = "http") => {
    cells.report.requestStarted();
    cells.report.requestEnded("GET", status, "header", type, durationMs);
  };
  return { clock, cells, watch, end };
}

describe("ActivityWatch", () => {
  test("ActivityWatch.read tells nothing before anything has happened", () => {
    expect(stage().watch.read()).toMatchObject({ requestsPerSecond: 0, failedPerSecond: 0, requests: 0, history: [] });
    expect(stage().watch.read().p50Ms).toBeUndefined();
  });

  test("ActivityWatch.read tells rates of the last ten seconds, and sums since the start", () => {
    const { clock, watch, end } = stage();
    for (let second = 0; second < 30; second++) {
      // Twenty a second at first, then four a second, one of which fails.
      for (let at = 0; at < (second < 15 ? 20 : 3); at++) end(200);
      if (second >= 15) end(503);
      clock.advance(1_000);
    }
    const activity = watch.read();
    expect(activity.windowMs).toBeWithin(9_000, 10_001);
    expect(activity.requestsPerSecond).toBeCloseTo(4, 5);
    expect(activity.failedPerSecond).toBeCloseTo(1, 5);
    expect(activity.requests).toBe(15 * 20 + 15 * 4);
    expect(activity.statuses.map(({ name, total }) => [name, total])).toEqual([
      ["200", 15 * 20 + 15 * 3],
      ["503", 15],
    ]);
    expect(activity.history.slice(13, 17)).toEqual([
      { requests: 20, failed: 0 },
      { requests: 20, failed: 0 },
      { requests: 4, failed: 1 },
      { requests: 4, failed: 1 },
    ]);
  });

  test("ActivityWatch.read forgets slow requests of long ago, and leaves WebSockets out of the durations", () => {
    const { clock, watch, end } = stage();
    for (let at = 0; at < 100; at++) end(200, 5_000);
    expect(watch.read().p50Ms ?? 0).toBeWithin(4_000, 6_000);
    clock.advance(20_000);
    expect(watch.read().p50Ms).toBeUndefined();
    for (let at = 0; at < 100; at++) end(101, 3_600_000, "websocket");
    for (let at = 0; at < 10; at++) end(200, 20);
    expect(watch.read().p99Ms ?? 0).toBeWithin(15, 25);
  });

  test("ActivityWatch.read tells which refusals are recent", () => {
    const { clock, cells, watch } = stage();
    cells.report.refused("draining");
    clock.advance(20_000);
    cells.report.refused("internal");
    expect(watch.read().refusals).toEqual([
      { name: "draining", total: 1, recent: 0 },
      { name: "internal", total: 1, recent: 1 },
    ]);
  });

  test("ActivityWatch keeps a minute of history, and no timer after stop", () => {
    const { clock, watch } = stage();
    clock.advance(600_000);
    expect(watch.read().history.length).toBe(60);
    const before = watch.read().windowMs;
    watch.stop();
    clock.advance(5_000);
    expect(watch.read().windowMs).toBe(before + 5_000);
  });
});
