import { expect, test } from "bun:test";
import { RENEW_QUEUE_MAX_INTENTS, RenewQueue, type QueuedIntent } from "../../../src/renew/queue.ts";
import { createRandom } from "../../../scripts/lib/stage/random.ts";

const intent = (number: number): QueuedIntent => ({ json: String(number), observedAtMs: number });

function drain(queue: RenewQueue): number[] {
  const numbers: number[] = [];
  for (let next = queue.shift(); next !== undefined; next = queue.shift()) numbers.push(next.observedAtMs);
  return numbers;
}

test("RenewQueue gives intents back in the order they came", () => {
  const queue = new RenewQueue(3);
  queue.push(intent(1));
  queue.push(intent(2));
  expect(queue.size).toBe(2);
  expect(drain(queue)).toEqual([1, 2]);
  expect(queue.size).toBe(0);
});

test("RenewQueue drops the oldest when it is full, and counts them", () => {
  const queue = new RenewQueue(3);
  for (let number = 1; number <= 5; number += 1) queue.push(intent(number));
  expect(queue.size).toBe(3);
  expect(queue.dropped).toBe(2);
  expect(drain(queue)).toEqual([3, 4, 5]);
});

test("RenewQueue.putBack puts intents before all others", () => {
  const queue = new RenewQueue(5);
  for (let number = 1; number <= 4; number += 1) queue.push(intent(number));
  const batch = [queue.shift(), queue.shift()].filter((taken) => taken !== undefined);
  queue.push(intent(5));
  queue.putBack(batch);
  expect(queue.dropped).toBe(0);
  expect(drain(queue)).toEqual([1, 2, 3, 4, 5]);
});

test("RenewQueue.putBack drops the oldest intents if there is no room", () => {
  const queue = new RenewQueue(3);
  queue.push(intent(10));
  queue.push(intent(11));
  queue.putBack([intent(1), intent(2), intent(3)]);
  expect(queue.dropped).toBe(2);
  expect(drain(queue)).toEqual([3, 10, 11]);
});

test("RenewQueue.clear empties it and returns the number of intents", () => {
  const queue = new RenewQueue(3);
  queue.push(intent(1));
  queue.push(intent(2));
  expect(queue.clear()).toBe(2);
  expect(queue.shift()).toBeUndefined();
  queue.push(intent(3));
  expect(drain(queue)).toEqual([3]);
});

test("RenewQueue equals a plain array that is cut at the front", () => {
  const random = createRandom(11);
  const queue = new RenewQueue(7);
  const model: number[] = [];
  let dropped = 0;
  for (let step = 0; step < 20_000; step += 1) {
    const kind = random.integer(4);
    if (kind === 0) expect(queue.shift()?.observedAtMs).toBe(model.shift());
    else if (kind === 1) {
      const batch = Array.from({ length: random.integer(5) }, (_, index) => -step - index);
      queue.putBack(batch.map(intent));
      model.unshift(...batch);
    } else {
      queue.push(intent(step));
      model.push(step);
    }
    while (model.length > 7) {
      model.shift();
      dropped += 1;
    }
    expect([queue.size, queue.dropped]).toEqual([model.length, dropped]);
  }
  expect(drain(queue)).toEqual(model);
});

test("RenewQueue holds RENEW_QUEUE_MAX_INTENTS by default", () => {
  const queue = new RenewQueue();
  for (let number = 0; number <= RENEW_QUEUE_MAX_INTENTS; number += 1) queue.push(intent(number));
  expect([queue.size, queue.dropped]).toEqual([RENEW_QUEUE_MAX_INTENTS, 1]);
});
