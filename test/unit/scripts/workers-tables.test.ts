import { describe, expect, test } from "bun:test";

import { CASES } from "../../../scripts/lib/bench/cases.ts";
import { ARRANGEMENTS, type Comparison, type Sample } from "../../../scripts/lib/bench/workers.ts";
import { formatConclusion, mostOnTwoCores, ratioOfTwo } from "../../../scripts/lib/bench/workers-tables.ts";

function sample(perSecond: number, [cpu, mainCpu, httpCpu]: readonly [number, number, number] = [30, 20, 10]): Sample {
  return { perSecond, cpu, mainCpu, httpCpu, p99Ms: 1, idle: 0 };
}

function comparison(one: readonly Sample[], two: readonly Sample[]): Comparison {
  const [benchCase] = CASES;
  const [arrangement] = ARRANGEMENTS;
  if (benchCase === undefined || arrangement === undefined) throw new Error("there are no cases");
  return { case: benchCase, arrangement, one, two };
}

describe("formatConclusion", () => {
  test("ratioOfTwo divides round by round", () => {
    const compared = comparison([sample(100), sample(50), sample(200)], [sample(110), sample(100), sample(100)]);
    expect(ratioOfTwo(compared, "perSecond")).toEqual({ median: 1.1, min: 0.5, max: 2 });
  });

  test.each([
    [[30, 20, 10], 4 / 3],
    [[30, 15, 15], 1],
    [[30, 30, 0], 2],
    // Other threads can use more than the busier of the two.
    [[40, 15, 10], 1],
  ] as const)("mostOnTwoCores: CPU of all threads, JavaScript and fetch %p give %p", (cpu, most) => {
    expect(mostOnTwoCores([sample(1, cpu)])).toBeCloseTo(most);
  });

  test.each([
    [159, "not worth a flag"],
    [160, "worth a flag"],
  ])("two processes with %d of 100 requests a second are %s", (perSecond, verdict) => {
    const text = formatConclusion([
      comparison([sample(100)], [sample(100)]),
      comparison([sample(100)], [sample(perSecond)]),
    ]);
    expect(text).toContain(`wanted 1.6: ${verdict} here.`);
  });
});
