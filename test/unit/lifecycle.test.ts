import { expect, test } from "bun:test";
import { createLifecycle, type LifecyclePhase } from "../../src/lifecycle.ts";

test("createLifecycle only goes forward, and calls its listeners once", () => {
  const lifecycle = createLifecycle();
  const seen: LifecyclePhase[] = [];
  lifecycle.onChange((phase) => seen.push(phase));
  expect(lifecycle.phase).toBe("starting");
  expect(lifecycle.advance("starting")).toBe(false);
  expect(lifecycle.advance("ready")).toBe(true);
  expect(lifecycle.advance("ready")).toBe(false);
  expect(lifecycle.advance("draining")).toBe(true);
  expect(lifecycle.advance("ready")).toBe(false);
  expect(lifecycle.phase).toBe("draining");
  expect(lifecycle.advance("stopped")).toBe(true);
  expect(seen).toEqual(["ready", "draining", "stopped"]);
});

test("createLifecycle can be stopped before it was ever ready", () => {
  const lifecycle = createLifecycle();
  expect(lifecycle.advance("draining")).toBe(true);
  expect(lifecycle.advance("ready")).toBe(false);
});
