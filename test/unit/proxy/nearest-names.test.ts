import { describe, expect, test } from "bun:test";
import { findNearestNames } from "../../../src/proxy/explain/nearest-names.ts";
import { createRandom } from "../../../scripts/lib/stage/random.ts";
import { sandboxRecord } from "../../../scripts/lib/stage/sandbox-objects.ts";

function nearest(id: string, names: readonly string[]): readonly string[] {
  const work = findNearestNames(
    id,
    names.map((name) => sandboxRecord({ name })),
  );
  for (;;) {
    const step = work.next();
    if (step.done === true) return step.value;
  }
}

/** Levenshtein's distance by its definition. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, at) => at);
  for (let at = 1; at <= a.length; at++) {
    const next = [at];
    for (let column = 1; column <= b.length; column++) {
      const change = a[at - 1] === b[column - 1] ? 0 : 1;
      next.push(Math.min((row[column] ?? 0) + 1, (next[column - 1] ?? 0) + 1, (row[column - 1] ?? 0) + change));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}

describe("findNearestNames", () => {
  test.each([
    ["my-sandbx", ["my-sandbox", "other", "your-sandbox"], ["my-sandbox"]],
    ["my-sandbox-2", ["my-sandbox"], ["my-sandbox"]],
    ["MY-SANDBOX", ["my-sandbox"], ["my-sandbox"]],
    ["ab", ["ac", "xyz"], ["ac"]],
    ["zzzz", ["my-sandbox", "other"], []],
    ["", ["a"], []],
    ["boxes", ["box1", "box2", "box3", "box4", "boxes-of-us"], ["boxes-of-us", "box1", "box2"]],
  ] as const)("findNearestNames(%p, %j) gives %j", (id, names, expected) => {
    expect(nearest(id, names)).toEqual([...expected]);
  });

  test("findNearestNames finds exactly the names that are near by Levenshtein's distance", () => {
    const random = createRandom(3);
    let found = 0;
    for (let round = 0; round < 5_000; round++) {
      // The first letters differ, so that no name is the beginning of another.
      const id = `a${random.text("bc", random.integer(14))}`;
      const name = `b${random.text("bc", random.integer(14))}`;
      const isNear = distance(id, name) <= Math.min(4, Math.ceil(id.length / 3));
      expect(nearest(id, [name])).toEqual(isNear ? [name] : []);
      if (isNear) found++;
    }
    expect(found).toBeGreaterThan(500);
  });

  test("findNearestNames lists a name once if several namespaces have it", () => {
    expect(nearest("twni", ["twin", "twin"])).toEqual(["twin"]);
  });
});
