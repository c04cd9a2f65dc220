import { describe, expect, test } from "bun:test";
import { TopOf } from "../../../src/admin/top-of.ts";
import { createRandom } from "../../../scripts/lib/stage/random.ts";

describe("TopOf", () => {
  test("TopOf gives the first of many in order, as sorting all of them would", () => {
    const random = createRandom(7);
    for (let round = 0; round < 300; round++) {
      const limit = 1 + random.integer(20);
      const items = Array.from({ length: random.integer(60) }, () => random.integer(30));
      const top = new TopOf<number>(limit, (a, b) => a - b);
      for (const item of items) top.add(item);
      expect(top.sorted()).toEqual(items.toSorted((a, b) => a - b).slice(0, limit));
    }
  });
});
