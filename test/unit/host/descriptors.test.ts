import { describe, expect, test } from "bun:test";
import { openSync, closeSync } from "node:fs";

import { descriptorFiles, parseDescriptorLimit } from "../../../src/host/descriptor-files.ts";
import { Descriptors, DESCRIPTOR_COUNT_MS, type DescriptorPressure } from "../../../src/host/descriptors.ts";
import { silentLogger } from "../../../src/log/logger.ts";
import { createFakeClock } from "../../../scripts/lib/stage/fake-clock.ts";
import { createRecordingLogger } from "../../../scripts/lib/stage/recording-logger.ts";

const MINUTE_MS = 60_000;

/** A process whose clients have `used` descriptors of `limit`. */
function startWatch(limit: number | undefined, used = 0) {
  const clock = createFakeClock();
  const logger = createRecordingLogger();
  const process = { used, held: 0, countTakesMs: 0, counts: 0 };
  const acts: DescriptorPressure[] = [];
  const heldAtAct: number[] = [];
  const descriptors = new Descriptors({
    clock,
    logger,
    files: {
      count() {
        process.counts++;
        clock.advance(process.countTakesMs);
        return limit === undefined ? undefined : process.used + process.held;
      },
      readLimit: () => limit,
      hold(count) {
        process.held += count;
        return () => (process.held -= count);
      },
    },
  });
  descriptors.onCount((pressure) => {
    acts.push(pressure);
    heldAtAct.push(process.held);
  });
  descriptors.start();
  /** Looks with another number of descriptors in use. */
  const look = (now: number): DescriptorPressure => {
    process.used = now;
    clock.advance(DESCRIPTOR_COUNT_MS);
    return descriptors.pressure();
  };
  return { clock, logger, process, acts, heldAtAct, descriptors, look };
}

describe("Descriptors.pressure", () => {
  test.each([
    // limit, reserve; clients that make it short, exhausted
    [200, 32, 105, 137],
    [96, 24, 25, 49],
    [1_024, 51, 872, 923],
    [20_000, 64, 17_937, 18_937],
    [1_048_576, 64, 1_044_417, 1_046_465],
  ])(
    "with a limit of %d it holds %d, is short from %d on and exhausted from %d on",
    (limit, reserve, short, exhausted) => {
      const { look, process } = startWatch(limit);
      expect(process.held).toBe(reserve);
      expect(look(short - 1)).toBe("none");
      expect(look(short)).toBe("short");
      expect(look(exhausted - 1)).toBe("short");
      expect(look(exhausted)).toBe("exhausted");
    },
  );

  test("ends later than it begins, and not because the reserve was let go", () => {
    const { look, process } = startWatch(200);
    expect(look(168)).toBe("exhausted");
    expect(process.held).toBe(0);
    expect(look(105)).toBe("exhausted");
    expect(look(104)).toBe("short");
    expect(process.held).toBe(32);
    expect(look(73)).toBe("short");
    expect(look(72)).toBe("none");
    expect(look(104)).toBe("none");
  });

  test("is none if the system does not tell, and no descriptor is held", () => {
    const { look, process, descriptors, acts } = startWatch(undefined);
    expect(look(1_000_000)).toBe("none");
    expect([process.held, acts.length]).toEqual([0, 0]);
    expect(descriptors.stats()).toBeUndefined();
  });
});

test("Descriptors releases the reserve after the listener has closed, and takes it before the listener opens again", () => {
  const { look, acts, heldAtAct } = startWatch(200);
  look(168);
  look(168);
  look(0);
  expect(acts).toEqual(["none", "exhausted", "exhausted", "none"]);
  expect(heldAtAct).toEqual([32, 32, 0, 32]);
});

test("Descriptors counts shortages, and logs them at most once a minute", () => {
  const { clock, logger, look, descriptors } = startWatch(200);
  for (let time = 0; time < 10; time++) {
    look(110);
    look(150);
    look(0);
  }
  expect(descriptors.stats()).toEqual({ open: 32, limit: 200, shortages: 10, exhaustions: 10 });
  const lines = () => logger.lines.map(({ level, message }) => `${level} ${message.split(":")[0]}`);
  const once = [
    "warn file descriptors are short",
    "warn file descriptors are exhausted",
    "info file descriptors are free again",
  ];
  expect(lines()).toEqual(once);
  clock.advance(MINUTE_MS);
  look(110);
  look(150);
  look(0);
  expect(lines()).toEqual([...once, ...once]);
});

test("Descriptors keeps counting when its listener throws, and logs this once a minute", () => {
  const { clock, logger, look, descriptors } = startWatch(200);
  descriptors.onCount(() => {
    throw new Error("the port is taken");
  });
  for (let time = 0; time < 100; time++) expect(look(168)).toBe("exhausted");
  expect(logger.find("error", /cannot accept/)).toHaveLength(1);
  clock.advance(MINUTE_MS);
  expect(logger.find("error", /cannot accept/)).toHaveLength(2);
  expect(look(0)).toBe("none");
});

test("Descriptors counts less often if counting is slow", () => {
  const { clock, process } = startWatch(200);
  process.countTakesMs = 20;
  const before = process.counts;
  clock.advance(10_000);
  expect(process.counts - before).toBeLessThanOrEqual(12);
  expect(process.counts - before).toBeGreaterThan(5);
});

test("Descriptors.stop ends counting and releases the reserve", () => {
  const { clock, process, descriptors } = startWatch(200);
  descriptors.stop();
  const { counts } = process;
  clock.advance(MINUTE_MS);
  expect([process.held, process.counts]).toEqual([0, counts]);
});

test("descriptorFiles counts this process's descriptors and holds some of them", () => {
  const before = descriptorFiles.count() ?? 0;
  const opened = openSync("/dev/null", "r");
  expect(descriptorFiles.count()).toBe(before + 1);
  const letGo = descriptorFiles.hold(10);
  expect(descriptorFiles.count()).toBe(before + 11);
  letGo();
  letGo();
  closeSync(opened);
  expect(descriptorFiles.count()).toBe(before);
  expect(descriptorFiles.readLimit()).toBeGreaterThan(before);
});

test.each<[string | undefined, number | undefined]>([
  [
    "Limit   Soft Limit   Hard Limit   Units\nMax open files            200                  4096                 files     \n",
    200,
  ],
  ["Max open files            unlimited            unlimited            files     \n", undefined],
  ["", undefined],
  [undefined, undefined],
])("parseDescriptorLimit reads %j as %p", (text, limit) => {
  expect([parseDescriptorLimit(() => text)]).toEqual([limit]);
});

test("Descriptors runs on this system", () => {
  const clock = createFakeClock();
  const descriptors = new Descriptors({ clock, logger: silentLogger });
  descriptors.start();
  expect(descriptors.pressure()).toBe("none");
  expect(descriptors.stats()?.limit).toBeGreaterThan(descriptors.stats()?.open ?? Number.POSITIVE_INFINITY);
  descriptors.stop();
});
