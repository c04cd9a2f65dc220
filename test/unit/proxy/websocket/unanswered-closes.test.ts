import { expect, test } from "bun:test";

import { UNANSWERED_CLOSES_MAX, UnansweredCloses } from "../../../../src/proxy/websocket/unanswered-closes.ts";

function createStage() {
  const closes = new UnansweredCloses();
  const terminated: number[] = [];
  const connections = Array.from({ length: UNANSWERED_CLOSES_MAX + 2 }, (_, index) => ({
    terminate: () => void terminated.push(index),
  }));
  return { closes, terminated, connections };
}

test("UnansweredCloses ends the connections that wait longest if there are too many", () => {
  const { closes, terminated, connections } = createStage();
  for (const connection of connections) closes.add(connection);
  expect(terminated).toEqual([0, 1]);
  expect(closes.size).toBe(UNANSWERED_CLOSES_MAX);
});

test("UnansweredCloses ignores connections that have ended by themselves", () => {
  const { closes, terminated, connections } = createStage();
  for (const connection of connections) {
    closes.add(connection);
    closes.delete(connection);
  }
  closes.terminateAll();
  expect(terminated).toEqual([]);
});

test("UnansweredCloses.terminateAll ends all that wait, once", () => {
  const { closes, terminated, connections } = createStage();
  for (const connection of connections.slice(0, 3)) closes.add(connection);
  closes.terminateAll();
  closes.terminateAll();
  expect(terminated).toEqual([0, 1, 2]);
  expect(closes.size).toBe(0);
});
