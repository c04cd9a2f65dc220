import { describe, expect, test } from "bun:test";

import { Slots } from "../../../../src/proxy/exchange/slot-list.ts";

describe("Slots", () => {
  test("Slots returns added items, but not removed ones", () => {
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

  test("Slots grows with the items that it holds at a time, not with all items ever added", () => {
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

  test("Slots may lose items during an iteration", () => {
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
