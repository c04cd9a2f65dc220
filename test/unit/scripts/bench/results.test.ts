import { describe, expect, test } from "bun:test";

import {
  type BenchResults,
  findGaps,
  MergeError,
  mergeResults,
  parseResults,
  toPlainResults,
} from "../../../../scripts/lib/bench/results.ts";
import { MACHINE, sampleCase } from "../../../support/bench-samples.ts";

const results = (...names: readonly string[]): BenchResults => ({
  machine: MACHINE,
  seconds: 3,
  cases: names.map((name) => sampleCase({ name }, { ingress: [{ perSecond: 1 }], nginx: [{ perSecond: 2 }] })),
});

describe("mergeResults", () => {
  test("mergeResults: cases of both, in the given order", () => {
    const merged = mergeResults(results("b", "unknown"), results("c", "a"), ["a", "b", "c"]);
    expect(merged.cases.map(({ name }) => name)).toEqual(["a", "b", "c", "unknown"]);
  });

  test("mergeResults: a case of both is the later one, with its contenders only", () => {
    const later = { ...results(), cases: [sampleCase({ name: "a" }, { ingress: [{ perSecond: 5 }] })] };
    const [merged] = mergeResults(results("a"), later).cases;
    expect(merged?.contenders.map(({ name, medians }) => [name, medians.perSecond])).toEqual([["ingress", 5]]);
  });

  test("mergeResults: another time of the same day is the same", () => {
    const later = { ...results("b"), machine: { ...MACHINE, date: "2026-01-02T23:59" } };
    expect(mergeResults(results("a"), later).cases).toHaveLength(2);
  });

  test.each([
    ["binary", { machine: { ...MACHINE, binary: "ffffffffffff" } }, "binary was 0123456789ab and is ffffffffffff"],
    ["day", { machine: { ...MACHINE, date: "2026-01-03T03:04" } }, "date was 2026-01-02 and is 2026-01-03"],
    ["kernel", { machine: { ...MACHINE, kernel: "7.0" } }, "kernel was 6.18.44-vendor and is 7.0"],
    ["processor", { machine: { ...MACHINE, processor: "Another" } }, "processor was A processor and is Another"],
    ["number of cores", { machine: { ...MACHINE, cores: 4 } }, "cores was 2 and is 4"],
    ["program", { machine: { ...MACHINE, versions: { bun: "1.4.5", nginx: "1.23" } } }, "nginx was 1.22.1 and is 1.23"],
    [
      "Go ingress",
      { machine: { ...MACHINE, versions: { ...MACHINE.versions, "go ingress": "ab" } } },
      "go ingress was missing and is ab",
    ],
    ["length of rounds", { seconds: 1 }, "the rounds took 3 s, and now take 1 s"],
  ])("mergeResults refuses another %s", (_, change, message) => {
    const merge = () => mergeResults(results("a"), { ...results("b"), ...change });
    expect(merge).toThrow(MergeError);
    expect(merge).toThrow(message);
  });
});

describe("parseResults", () => {
  test("parseResults: reads what was written, with what was not measured", () => {
    const rounds = [
      { perSecond: 12_345.6, cpu: 1 },
      { perSecond: 2, cpu: 3 },
    ];
    const written: BenchResults = { ...results(), cases: [sampleCase({}, { ingress: rounds, go: [{ kbEach: 4 }] })] };
    const read = parseResults(JSON.parse(JSON.stringify(toPlainResults(written))));
    expect(read.machine).toEqual(MACHINE);
    expect(read.seconds).toBe(3);
    expect(read.cases).toEqual([
      sampleCase(
        {},
        {
          ingress: [
            { perSecond: 12_350, cpu: 1 },
            { perSecond: 2, cpu: 3 },
          ],
          go: [{ kbEach: 4 }],
        },
      ),
    ]);
  });

  test.each([[null], [[]], [{}], [{ cases: [] }], [{ cases: [], machine: {} }]])("parseResults refuses %j", (value) => {
    expect(() => parseResults(value)).toThrow("no results of ./scripts/bench");
  });

  test("parseResults refuses an unknown contender, unit and metric", () => {
    const plain = (about: object, contender: object) => ({
      machine: MACHINE,
      seconds: 3,
      cases: [{ name: "a", title: "A", unit: "requests", compared: "cpu", ...about, contenders: [contender] }],
    });
    const contender = { name: "nginx", rounds: { cpu: [1] } };
    expect(parseResults(plain({}, contender)).cases).toHaveLength(1);
    expect(() => parseResults(plain({ unit: "x" }, contender))).toThrow("unknown x in a");
    expect(() => parseResults(plain({ compared: "y" }, contender))).toThrow("unknown y in a");
    expect(() => parseResults(plain({}, { ...contender, name: "z" }))).toThrow("unknown z in a");
    expect(() => parseResults(plain({}, { name: "nginx" }))).toThrow("no rounds in a");
  });
});

describe("findGaps", () => {
  const wanted = [{ name: "a", contenders: ["ingress", "nginx", "go"] as const }];

  test("findGaps: only the Go ingress may be missing", () => {
    expect(findGaps(results("a"), wanted, 1)).toEqual([]);
  });

  test("findGaps: names missing cases, contenders and rounds", () => {
    expect(findGaps(results("b"), wanted, 1)).toEqual(["the case a"]);
    expect(findGaps(results("a"), wanted, 2)).toEqual(["2 rounds of ingress, nginx in the case a"]);
    const without = { ...results(), cases: [sampleCase({ name: "a" }, { ingress: [{ perSecond: 5 }] })] };
    expect(findGaps(without, wanted, 1)).toEqual(["1 rounds of nginx in the case a"]);
  });
});
