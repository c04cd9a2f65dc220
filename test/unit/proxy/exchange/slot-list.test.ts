import { describe, expect, test } from "bun:test";

import { Slots } from "../../../../src/proxy/exchange/slot-list.ts";

describe("Slots", () => {
  test("Slots gives back what was added, and not what was removed", () => {
    const slots = new Slots<string>();
    const a = slots.add("a");
    slots.add("b");
    slots.remove(a);
    slots.add("c");
    expect([...slots].toSorted()).toEqual(["b", "c"]);
    expect(slots.size).toBe(2);
  });

  test("Slots holds the same item as often as it was added", () => {
    const slots = new Slots<string>();
    const first = slots.add("a");
    slots.add("a");
    slots.remove(first);
    expect([...slots]).toEqual(["a"]);
  });

  test("Slots grows to what was in it at a time, not to what went through it", () => {
    const slots = new Slots<number>();
    const taken = new Set<number>();
    for (let round = 0; round < 1_000; round++) {
      const first = slots.add(round);
      const second = slots.add(round);
      taken.add(first).add(second);
      slots.remove(first);
      slots.remove(second);
    }
    expect(taken.size).toBe(2);
    expect(slots.size).toBe(0);
  });

  test("Slots may lose items while one goes through them", () => {
    const slots = new Slots<string>();
    const added = ["a", "b", "c"].map((item) => ({ item, slot: slots.add(item) }));
    const met: string[] = [];
    for (const item of slots) {
      met.push(item);
      if (item === "a") for (const { slot } of added) slots.remove(slot);
    }
    expect(met).toEqual(["a"]);
    expect(slots.size).toBe(0);
  });
});
