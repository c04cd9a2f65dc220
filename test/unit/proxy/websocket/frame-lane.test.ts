import { describe, expect, test } from "bun:test";

import { FrameLane, type LaneEnds } from "../../../../src/proxy/websocket/frame-lane.ts";
import type { FrameRate } from "../../../../src/proxy/websocket/frame-rates.ts";
import { FrameScheduler } from "../../../../src/proxy/websocket/frame-scheduler.ts";
import { createFakeClock } from "../../../../scripts/lib/stage/fake-clock.ts";

/** An event loop whose turns the test makes. */
function createLoop() {
  const clock = createFakeClock();
  let due: (() => void)[] = [];
  const scheduler = new FrameScheduler(clock, (run) => void due.push(run));
  return {
    clock,
    scheduler,
    turn() {
      const now = due;
      due = [];
      for (const run of now) run();
      return now.length > 0;
    },
  };
}

const FREE: FrameRate = { tryTake: () => true };

function createLane(loop: ReturnType<typeof createLoop>, rate: FrameRate = FREE, ends: Partial<LaneEnds> = {}) {
  const events: string[] = [];
  const lane = new FrameLane(
    {
      deliver: (_kind, data) => void events.push(data.toString()),
      batch(run) {
        events.push("[");
        run();
        events.push("]");
      },
      pauseSender: () => void events.push("pause"),
      resumeSender: () => void events.push("resume"),
      onHeldBytes: () => {},
      fail: (thrown) => void events.push(String(thrown)),
      ...ends,
    },
    { rate, clock: loop.clock, scheduler: loop.scheduler },
  );
  const delivered = (): string[] => events.filter((event) => /^\d+$/.test(event));
  return { lane, events, delivered };
}

const numbers = (count: number): string[] => Array.from({ length: count }, (_, i) => String(i));

describe("FrameLane", () => {
  test("passes few frames at once, and the rest of the turn in one batch of the next", () => {
    const loop = createLoop();
    const { lane, events } = createLane(loop);
    for (const text of numbers(12)) lane.push("text", text, loop.clock.monotonic());
    expect(events).toEqual(numbers(8));
    loop.turn();
    expect(events.slice(8)).toEqual(["[", "8", "9", "10", "11", "]"]);
    lane.push("text", "12", loop.clock.monotonic());
    expect(events.at(-1)).toBe("12");
  });

  test("pauses a sender of many frames, resumes it, and passes each frame on once and in order", () => {
    const loop = createLoop();
    const { lane, events, delivered } = createLane(loop);
    for (const text of numbers(20_000)) lane.push("text", text, loop.clock.monotonic());
    expect(events.filter((event) => event === "pause")).toHaveLength(1);
    let turns = 0;
    while (loop.turn()) turns++;
    expect(delivered()).toEqual(numbers(20_000));
    expect(events.filter((event) => event === "resume")).toHaveLength(1);
    // Bounded work a turn: 20,000 frames are many turns.
    expect(turns).toBeGreaterThan(20_000 / 256);
    expect(lane.heldBytes).toBe(0);
  });

  test("a thousand busy lanes share each turn, and a quiet one does not wait for them", () => {
    const loop = createLoop();
    const busy = Array.from({ length: 1_000 }, () => createLane(loop));
    for (const { lane } of busy) for (const text of numbers(300)) lane.push("text", text, loop.clock.monotonic());
    const count = (): number => busy.reduce((sum, { delivered }) => sum + delivered().length, 0);
    expect(count()).toBeLessThanOrEqual(256);
    const quiet = createLane(loop);
    for (let turn = 0; turn < 20; turn++) {
      const before = count();
      loop.turn();
      expect(count() - before).toBeLessThanOrEqual(256);
      quiet.lane.push("text", String(turn), loop.clock.monotonic());
    }
    expect(quiet.delivered()).toHaveLength(20);
  });

  test("waits while the rate is used up, and goes on when it is there again", () => {
    const loop = createLoop();
    let allowed = 10;
    const { lane, delivered } = createLane(loop, { tryTake: () => allowed-- > 0 });
    for (const text of numbers(30)) lane.push("text", text, loop.clock.monotonic());
    while (loop.turn());
    expect(delivered()).toEqual(numbers(10));
    allowed = 20;
    loop.clock.advance(10);
    while (loop.turn());
    expect(delivered()).toEqual(numbers(30));
  });

  test("block stops delivery and the sender, unblock starts both", () => {
    const loop = createLoop();
    const { lane, events, delivered } = createLane(loop);
    lane.block();
    for (const text of numbers(3)) lane.push("text", text, loop.clock.monotonic());
    while (loop.turn());
    expect(events).toEqual(["pause"]);
    lane.unblock();
    while (loop.turn());
    expect(delivered()).toEqual(numbers(3));
    expect(events).toContain("resume");
  });

  test("end waits for the waiting frames, clear drops them", () => {
    const loop = createLoop();
    const ended = createLane(loop);
    const cleared = createLane(loop);
    for (const { lane } of [ended, cleared])
      for (const text of numbers(50)) lane.push("text", text, loop.clock.monotonic());
    ended.lane.end(() => void ended.events.push("end"));
    cleared.lane.end(() => void cleared.events.push("end"));
    cleared.lane.clear();
    ended.lane.push("text", "late", loop.clock.monotonic());
    while (loop.turn());
    expect(ended.delivered()).toEqual(numbers(50));
    expect(ended.events.slice(-2)).toEqual(["]", "end"]);
    expect(ended.events.filter((event) => event === "end")).toHaveLength(1);
    expect(cleared.events).not.toContain("end");
    expect(cleared.lane.heldBytes).toBe(0);
  });

  test("reports what a delivery throws, and stops no other lane", () => {
    const loop = createLoop();
    const throwing = createLane(loop, FREE, {
      batch: () => {
        throw new Error("thrown");
      },
    });
    const other = createLane(loop);
    for (const { lane } of [throwing, other])
      for (const text of numbers(20)) lane.push("text", text, loop.clock.monotonic());
    loop.turn();
    expect(throwing.events).toContain("Error: thrown");
    while (other.delivered().length < 20 && loop.turn());
    expect(other.delivered()).toEqual(numbers(20));
  });
});
