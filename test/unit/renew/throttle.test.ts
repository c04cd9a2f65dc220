import { expect, test } from "bun:test";
import type { Clock } from "../../../src/clock.ts";
import { createThrottle, THROTTLE_MAX_SANDBOXES } from "../../../src/renew/throttle.ts";
import type { SandboxRecord } from "../../../src/sandbox/provider.ts";
import { createRandom } from "../../../scripts/lib/stage/random.ts";
import { sandboxRecord } from "../../../scripts/lib/stage/sandbox-objects.ts";

const named = (name: string, change: Partial<SandboxRecord> = {}) =>
  sandboxRecord({ name, uid: `uid of ${name}`, ...change });

function createClock() {
  let time = 1_000;
  const clock: Clock = { now: () => time, monotonic: () => time, setTimer: () => ({ cancel() {} }) };
  return { clock, advance: (ms: number) => (time += ms) };
}

test("Throttle lets a sandbox through once each interval, to the millisecond", () => {
  const { clock, advance } = createClock();
  const throttle = createThrottle(clock, 60_000);
  const record = sandboxRecord();
  expect(throttle.take(record)).toBe(true);
  advance(59_999);
  expect(throttle.take(record)).toBe(false);
  advance(1);
  expect(throttle.take(record)).toBe(true);
  expect(throttle.take(record)).toBe(false);
});

test("Throttle counts each sandbox for itself, by its uid and not by its record", () => {
  const { clock } = createClock();
  const throttle = createThrottle(clock, 60_000);
  expect(throttle.take(named("a"))).toBe(true);
  expect(throttle.take(named("b"))).toBe(true);
  expect(throttle.take(named("a", { endpoint: "10.9.9.9" }))).toBe(false);
  expect(throttle.take(named("a", { uid: "another" }))).toBe(true);
});

test("Throttle forgets a sandbox when told to, in either generation", () => {
  const { clock, advance } = createClock();
  const throttle = createThrottle(clock, 60_000);
  const record = named("a");
  throttle.take(named("first"));
  advance(30_000);
  throttle.take(record);
  throttle.forget(record);
  expect(throttle.take(record)).toBe(true);
  advance(40_000);
  throttle.take(named("turns the generation"));
  expect(throttle.take(record)).toBe(false);
  throttle.forget(record);
  expect(throttle.take(record)).toBe(true);
  throttle.forget(named("never seen"));
});

test("Throttle with an interval of 0 lets every use through and remembers nothing", () => {
  const { clock } = createClock();
  const throttle = createThrottle(clock, 0);
  const record = sandboxRecord();
  expect([throttle.take(record), throttle.take(record), throttle.take(record)]).toEqual([true, true, true]);
  throttle.forget(record);
  expect(throttle.size()).toBe(0);
});

test("Throttle forgets expired entries by itself", () => {
  const { clock, advance } = createClock();
  const throttle = createThrottle(clock, 1_000);
  for (let index = 0; index < 100; index += 1) throttle.take(named(`sb-${index}`));
  expect(throttle.size()).toBe(100);
  advance(2_000);
  throttle.take(named("later"));
  expect(throttle.size()).toBe(1);
});

test("Throttle never remembers more than its bound, and then renews more often instead of less", () => {
  const { clock } = createClock();
  const throttle = createThrottle(clock, 60_000, { maxSandboxes: 10 });
  const names = Array.from({ length: 100 }, (_, index) => named(`sb-${index}`));
  for (const record of names) {
    expect(throttle.take(record)).toBe(true);
    expect(throttle.size()).toBeLessThanOrEqual(10);
  }
  expect(names.slice(-5).map((record) => throttle.take(record))).toEqual([false, false, false, false, false]);
  expect(names.slice(0, 5).every((record) => throttle.take(record))).toBe(true);
  expect(THROTTLE_MAX_SANDBOXES).toBeGreaterThanOrEqual(100_000);
});

test("Throttle equals a plain map of last times while there are fewer sandboxes than its bound", () => {
  const random = createRandom(7);
  const { clock, advance } = createClock();
  const throttle = createThrottle(clock, 100);
  const last = new Map<string, number>();
  for (let step = 0; step < 50_000; step += 1) {
    advance(random.integer(20) === 0 ? random.integer(300) : random.integer(3));
    const record = named(`sb-${random.integer(40)}`);
    if (random.integer(50) === 0) {
      throttle.forget(record);
      last.delete(record.uid);
      continue;
    }
    const before = last.get(record.uid);
    const due = before === undefined || clock.monotonic() - before >= 100;
    if (due) last.set(record.uid, clock.monotonic());
    expect(throttle.take(record)).toBe(due);
  }
});
