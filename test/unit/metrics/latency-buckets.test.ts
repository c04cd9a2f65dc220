import { describe, expect, test } from "bun:test";
import { LatencyBuckets, quantileOf } from "../../../src/metrics/latency-buckets.ts";

describe("LatencyBuckets", () => {
  test.each([0.2, 1, 3.7, 42, 999, 60_000])("LatencyBuckets.quantile is right to a fifth: %p ms", (durationMs) => {
    const buckets = new LatencyBuckets();
    for (let at = 0; at < 100; at++) buckets.record(durationMs);
    for (const q of [0.01, 0.5, 0.99]) {
      expect(buckets.quantile(q) ?? 0).toBeWithin(durationMs * 0.8, durationMs * 1.2);
    }
  });

  test("LatencyBuckets.quantile tells the slow from the fast", () => {
    const buckets = new LatencyBuckets();
    for (let at = 0; at < 98; at++) buckets.record(2);
    for (let at = 0; at < 2; at++) buckets.record(500);
    expect(buckets.quantile(0.5) ?? 0).toBeWithin(1.5, 2.5);
    expect(buckets.quantile(0.99) ?? 0).toBeWithin(400, 600);
  });

  test("LatencyBuckets.record takes anything, in bounded memory", () => {
    const buckets = new LatencyBuckets();
    const { length } = buckets.counts;
    const odd = [0, -1, Number.NaN, Number.POSITIVE_INFINITY, 1e300, Number.MIN_VALUE];
    for (const each of odd) buckets.record(each);
    expect(buckets.counts.length).toBe(length);
    expect(buckets.counts.reduce((sum, count) => sum + count, 0)).toBe(odd.length);
  });

  test("LatencyBuckets.since counts what came between", () => {
    const buckets = new LatencyBuckets();
    buckets.record(1);
    const earlier = buckets.counts.slice();
    expect(buckets.since(earlier).quantile(0.5)).toBeUndefined();
    buckets.record(100);
    expect(buckets.since(earlier).quantile(0.5) ?? 0).toBeWithin(80, 120);
  });
});

describe("quantileOf", () => {
  test("quantileOf gives the lower bound of a last bucket that has no upper one", () => {
    expect(quantileOf([0, 0, 1], 0.99, (bucket) => [1, 2][bucket])).toBe(2);
    expect(quantileOf([0, 0, 0], 0.5, (bucket) => [1, 2][bucket])).toBeUndefined();
  });
});
