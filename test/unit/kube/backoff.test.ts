import { describe, expect, test } from "bun:test";
import { createBackoff } from "../../../src/kube/backoff.ts";
import { createFaultLog } from "../../../src/kube/fault-log.ts";
import { systemClock, type Clock } from "../../../src/clock.ts";
import { createRecordingLogger } from "../../../scripts/lib/stage/recording-logger.ts";

describe("createBackoff", () => {
  test("doubles from 0.5 s to 2 s, half of it random", () => {
    const longest = createBackoff(() => 0.999_999);
    expect([1, 2, 3, 4].map(() => Math.round(longest.next()))).toEqual([500, 1000, 2000, 2000]);
    const shortest = createBackoff(() => 0);
    expect([1, 2, 3, 4].map(() => shortest.next())).toEqual([250, 500, 1000, 1000]);
  });

  test("begins again after a success", () => {
    const backoff = createBackoff(() => 0);
    for (let i = 0; i < 100; i++) backoff.next();
    backoff.reset();
    expect(backoff.next()).toBe(250);
  });

  test("waits at least as long as the server asks, up to 30 s", () => {
    const backoff = createBackoff(() => 0);
    expect(backoff.next(7000)).toBe(7000);
    expect(backoff.next(1)).toBe(500);
    expect(backoff.next(86_400_000)).toBe(30_000);
  });
});

describe("createFaultLog", () => {
  test("logs a fault at once, again after 5, 10, 20, 40 and then every 60 s, and its end once", () => {
    let nowMs = 0;
    const clock: Clock = { ...systemClock, monotonic: () => nowMs };
    const logger = createRecordingLogger();
    const faults = createFaultLog(logger, clock);
    const saidAt: number[] = [];
    for (nowMs = 0; nowMs <= 200_000; nowMs += 1000) {
      const before = logger.find("error", /./).length;
      faults.report("a", "broken");
      if (logger.find("error", /./).length > before) saidAt.push(nowMs / 1000);
    }
    expect(saidAt).toEqual([0, 5, 15, 35, 75, 135, 195]);
    faults.clear("works");
    faults.clear("works");
    expect(logger.find("info", /./)).toEqual(["works after 201.0 s"]);
  });

  test("logs another kind of fault at once", () => {
    const logger = createRecordingLogger();
    const faults = createFaultLog(logger, systemClock);
    for (const key of ["a", "a", "b", "b"]) faults.report(key, key);
    expect(logger.find("error", /./)).toEqual(["a", "b"]);
  });
});
