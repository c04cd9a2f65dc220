import { describe, expect, test } from "bun:test";

import { CASES } from "../../../../scripts/lib/bench/cases.ts";
import { checkTargets, TARGETS } from "../../../../scripts/lib/bench/targets.ts";
import { sampleCase } from "../../../support/bench-samples.ts";

const rate = (...values: readonly number[]) => values.map((perSecond) => ({ perSecond }));

describe("checkTargets", () => {
  test("checkTargets: a part of nginx that is reached is met, without the forwarder", () => {
    const [target, ...others] = checkTargets([sampleCase({}, { ingress: rate(55), nginx: rate(100) })]);
    expect(others).toEqual([]);
    expect(target).toEqual({
      title: "GET 1 KB, 64 connections",
      wanted: "≥ 0.55 of nginx",
      found: "0.55",
      bare: "",
      fallsBack: false,
      isMet: true,
    });
  });

  test("checkTargets: a target that the forwarder reaches and the ingress does not is missed", () => {
    const [target] = checkTargets([sampleCase({}, { ingress: rate(54), bare: rate(56), nginx: rate(100) })]);
    expect(target).toMatchObject({ fallsBack: false, isMet: false, found: "0.54", bare: "0.56" });
  });

  test.each([
    { ingress: 48, isMet: true, found: "0.96 (0.48)" },
    { ingress: 47, isMet: false, found: "0.94 (0.47)" },
  ])(
    "checkTargets: if the forwarder misses it, 0.95 of the forwarder is wanted: $ingress",
    ({ ingress, isMet, found }) => {
      const [target] = checkTargets([sampleCase({}, { ingress: rate(ingress), bare: rate(50), nginx: rate(100) })]);
      expect(target).toMatchObject({ fallsBack: true, isMet, found, bare: "0.50" });
      expect(target?.wanted).toBe("≥ 0.95 of the forwarder (≥ 0.55 of nginx)");
    },
  );

  test("checkTargets: an ingress that reaches what the forwarder misses needs no other target", () => {
    const [target] = checkTargets([sampleCase({}, { ingress: rate(60), bare: rate(50), nginx: rate(100) })]);
    expect(target).toMatchObject({ fallsBack: false, isMet: true });
  });

  test.each([
    { ingress: 31, isMet: true },
    { ingress: 32, isMet: false },
  ])("checkTargets: of a delay, 1/0.95 of the forwarder's is allowed: $ingress ms", ({ ingress, isMet }) => {
    const about = { name: "half-load", compared: "p99Ms" } as const;
    const result = sampleCase(about, { ingress: [{ p99Ms: ingress }], bare: [{ p99Ms: 30 }], nginx: [{ p99Ms: 10 }] });
    expect(checkTargets([result])[0]).toMatchObject({ fallsBack: true, isMet });
  });

  test("checkTargets: ratios are taken round by round", () => {
    // The machine was ten times slower in the second round and twice as fast in the third.
    const result = sampleCase({}, { ingress: rate(60, 6, 120), nginx: rate(100, 10, 200) });
    expect(checkTargets([result])[0]?.found).toBe("0.60");
  });

  test("checkTargets: every speed must reach that of the Go ingress, and memory need not", () => {
    const speed = sampleCase({ name: "get-1k-1", title: "one" }, { ingress: rate(99), go: rate(100) });
    const delay = sampleCase(
      { name: "event-streams", title: "two", compared: "p99Ms" },
      { ingress: [{ p99Ms: 1 }], go: [{ p99Ms: 2 }] },
    );
    const memory = sampleCase(
      { name: "other", title: "three", compared: "kbEach" },
      { ingress: [{ kbEach: 9 }], go: [{ kbEach: 1 }] },
    );
    const shown = checkTargets([speed, delay, memory]).map(({ title, wanted, isMet }) => [title, wanted, isMet]);
    expect(shown).toEqual([
      ["one", "≥ 1.00 of the Go ingress", false],
      ["two", "≤ 1.00 of the Go ingress", true],
    ]);
  });

  test("checkTargets: a case without the ingress, or without what it is compared with, has no target", () => {
    expect(checkTargets([sampleCase({}, { bare: rate(50), nginx: rate(100) })])).toEqual([]);
    expect(checkTargets([sampleCase({ name: "echo-64" }, { ingress: rate(50) })])).toEqual([]);
    expect(checkTargets([])).toEqual([]);
  });

  test("TARGETS: each names a case in which the ingress, the forwarder and the compared contender take part", () => {
    const missing = TARGETS.flatMap(({ title, case: name, to = "bare" }) => {
      const contenders = CASES.find((each) => each.name === name)?.contenders ?? [];
      return (["ingress", "bare", to] as const)
        .filter((each) => !contenders.includes(each))
        .map((each) => [title, each]);
    });
    expect(missing).toEqual([]);
    expect(TARGETS.length).toBeGreaterThan(0);
  });
});
