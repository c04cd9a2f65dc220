import { describe, expect, test } from "bun:test";
import type { Span } from "../../../src/traces/span.ts";
import { SPAN_BATCH_MAX, SPAN_DELAY_MS, SPAN_QUEUE_MAX, SpanQueue } from "../../../src/traces/span-queue.ts";
import { createFakeClock } from "../../../scripts/lib/stage/fake-clock.ts";

const SPAN: Span = {
  name: "GET",
  kind: "server",
  traceId: "1",
  spanId: "2",
  parentSpanId: undefined,
  startMs: 0,
  endMs: 1,
  isError: false,
  attributes: {},
};
const TIMEOUT_MS = 10_000;

/** A queue whose pushes end when the test says so. */
function stage() {
  const clock = createFakeClock();
  const pushes: { readonly size: number; readonly end: PromiseWithResolvers<void> }[] = [];
  const queue = new SpanQueue({
    clock,
    timeoutMs: TIMEOUT_MS,
    push(spans) {
      const end = Promise.withResolvers<void>();
      pushes.push({ size: spans.length, end });
      return end.promise;
    },
  });
  const add = (count: number): void => {
    for (let i = 0; i < count; i++) queue.add(SPAN);
  };
  return { clock, queue, pushes, add, sizes: () => pushes.map(({ size }) => size) };
}

/** Lets promises that are settled have their effects. */
const settle = (): Promise<void> => Bun.sleep(0);

describe("SpanQueue", () => {
  test("SpanQueue.add waits for others, then pushes them together", async () => {
    const { clock, queue, pushes, add, sizes } = stage();
    add(3);
    clock.advance(SPAN_DELAY_MS - 1);
    expect(sizes()).toEqual([]);
    clock.advance(1);
    expect(sizes()).toEqual([3]);
    pushes[0]?.end.resolve();
    await settle();
    expect(queue.counts()).toEqual({ exported: 3, dropped: 0, failed: 0 });
    // Nothing waits, so nothing is pushed.
    clock.advance(10 * SPAN_DELAY_MS);
    expect(sizes()).toEqual([3]);
  });

  test("SpanQueue pushes a full batch in the next turn, not within the request, and one at a time", async () => {
    const { clock, pushes, add, sizes } = stage();
    add(SPAN_BATCH_MAX + 1);
    expect(sizes()).toEqual([]);
    clock.advance(0);
    expect(sizes()).toEqual([SPAN_BATCH_MAX]);
    add(SPAN_BATCH_MAX);
    clock.advance(SPAN_DELAY_MS);
    expect(sizes()).toEqual([SPAN_BATCH_MAX]);
    pushes[0]?.end.resolve();
    await settle();
    clock.advance(0);
    expect(sizes()).toEqual([SPAN_BATCH_MAX, SPAN_BATCH_MAX]);
    pushes[1]?.end.resolve();
    await settle();
    clock.advance(SPAN_DELAY_MS);
    expect(sizes()).toEqual([SPAN_BATCH_MAX, SPAN_BATCH_MAX, 1]);
  });

  test("SpanQueue drops and counts what finds no place", () => {
    const { queue, add } = stage();
    add(SPAN_QUEUE_MAX + 7);
    expect(queue.counts()).toEqual({ exported: 0, dropped: 7, failed: 0 });
  });

  test.each(["rejects", "never ends"])("SpanQueue goes on after a push that %s", async (how) => {
    const { clock, queue, pushes, add, sizes } = stage();
    add(2);
    clock.advance(SPAN_DELAY_MS);
    if (how === "rejects") pushes[0]?.end.reject(new Error("500"));
    else clock.advance(2 * TIMEOUT_MS);
    await settle();
    expect(queue.counts()).toEqual({ exported: 0, dropped: 0, failed: 2 });
    add(1);
    clock.advance(SPAN_DELAY_MS);
    pushes[1]?.end.resolve();
    await settle();
    expect(sizes()).toEqual([2, 1]);
    expect(queue.counts()).toEqual({ exported: 1, dropped: 0, failed: 2 });
  });

  test("SpanQueue goes on after a push that throws at once", async () => {
    const clock = createFakeClock();
    const queue = new SpanQueue({
      clock,
      timeoutMs: TIMEOUT_MS,
      push() {
        throw new Error("no");
      },
    });
    queue.add(SPAN);
    clock.advance(SPAN_DELAY_MS);
    await settle();
    expect(queue.counts()).toEqual({ exported: 0, dropped: 0, failed: 1 });
  });

  test("SpanQueue.stop pushes all that waits, also what an open push keeps waiting", async () => {
    const { clock, queue, pushes, add, sizes } = stage();
    add(1);
    clock.advance(SPAN_DELAY_MS);
    add(SPAN_BATCH_MAX + 1);
    const stopped = queue.stop(2_000);
    for (const at of [0, 1, 2]) {
      await settle();
      pushes[at]?.end.resolve();
    }
    await stopped;
    expect(sizes()).toEqual([1, SPAN_BATCH_MAX, 1]);
    expect(queue.counts()).toEqual({ exported: SPAN_BATCH_MAX + 2, dropped: 0, failed: 0 });
    add(1);
    expect(queue.counts().dropped).toBe(1);
  });

  test("SpanQueue.stop gives up when its time is over, and counts each span once", async () => {
    const { clock, queue, pushes, add, sizes } = stage();
    add(SPAN_BATCH_MAX + 3);
    clock.advance(0);
    const stopped = queue.stop(2_000);
    clock.advance(2_000);
    await stopped;
    expect(queue.counts()).toEqual({ exported: 0, dropped: SPAN_BATCH_MAX + 3, failed: 0 });
    pushes[0]?.end.resolve();
    await settle();
    expect(queue.counts()).toEqual({ exported: 0, dropped: SPAN_BATCH_MAX + 3, failed: 0 });
    expect(sizes()).toEqual([SPAN_BATCH_MAX]);
  });
});
