import { expect, test } from "bun:test";

import { type FrameKind, FrameQueue } from "../../../../src/proxy/websocket/frame-queue.ts";
import { createRandom } from "../../../../scripts/lib/stage/random.ts";

const KINDS: readonly [FrameKind, ...FrameKind[]] = ["text", "binary", "ping", "pong"];
const LENGTHS: readonly [number, ...number[]] = [0, 1, 2, 125, 1_023, 1_024, 1_025, 16_380, 16_384, 70_000];

test("FrameQueue returns every frame as it came, in order, for any mix of push and shift", () => {
  const random = createRandom(7);
  const queue = new FrameQueue();
  const expected: { kind: FrameKind; text: string }[] = [];
  let pushed = 0;
  for (let round = 0; round < 5_000; round++) {
    if (random.integer(100) < 55) {
      const kind = random.pick(KINDS);
      const length = random.pick(LENGTHS);
      const text = length < 8 ? "é".repeat(length) : String(pushed++).padEnd(length, "ü");
      queue.push(kind, kind === "text" ? text : Buffer.from(text), Buffer.byteLength(text));
      expected.push({ kind, text });
    } else {
      const frame = queue.shift();
      const wanted = expected.shift();
      expect(frame === undefined ? undefined : { kind: frame.kind, text: frame.data.toString() }).toEqual(wanted);
    }
    expect(queue.frames).toBe(expected.length);
  }
  for (const wanted of expected) expect(queue.shift()?.data.toString()).toBe(wanted.text);
  expect(queue.shift()).toBeUndefined();
  expect([queue.frames, queue.heldBytes]).toEqual([0, 0]);
});

test("FrameQueue holds a full receive buffer of the shortest frames in no more memory than that buffer", () => {
  const queue = new FrameQueue();
  const frames = Math.floor((512 * 1024) / 6);
  for (let i = 0; i < frames; i++) queue.push("binary", Buffer.alloc(0), 0);
  expect(queue.frames).toBe(frames);
  expect(queue.heldBytes).toBeLessThanOrEqual(512 * 1024);
  queue.clear();
  expect([queue.frames, queue.heldBytes]).toEqual([0, 0]);
});
