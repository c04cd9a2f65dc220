import { describe, expect, test } from "bun:test";
import { isSampled, type SamplingQuestion } from "../../../src/traces/sampler.ts";
import { createSpanIds } from "../../../src/traces/span-ids.ts";

const LOW = "00000000000000000000000000000001";
const HIGH = "ffffffffffffffffffffffffffffffff";
const SPAN_LOW = "0000000000000001";
const SPAN_HIGH = "ffffffffffffffff";

function question(changes: Partial<SamplingQuestion>): SamplingQuestion {
  return { parent: undefined, isTrusted: false, traceId: HIGH, spanId: SPAN_HIGH, ...changes };
}
const parentOf = (traceId: string, sampled: boolean) => ({ traceId, spanId: SPAN_LOW, isSampled: sampled });

describe("isSampled", () => {
  test.each([true, false])("isSampled follows the flag %p of a trusted parent, if it is parent-based", (flag) => {
    const asked = question({ parent: parentOf(HIGH, flag), isTrusted: true });
    for (const ratio of [0, 0.01, 1]) expect(isSampled({ ratio, isParentBased: true }, asked)).toBe(flag);
    for (const ratio of [0, 1]) expect(isSampled({ ratio, isParentBased: false }, asked)).toBe(ratio === 1);
  });

  test.each([true, false])("isSampled ignores flag %p and trace id of an untrusted parent", (flag) => {
    for (const isParentBased of [true, false]) {
      const sampler = { ratio: 0.5, isParentBased };
      const asked = { parent: parentOf(LOW, flag), traceId: LOW };
      expect(isSampled(sampler, question({ ...asked, spanId: SPAN_HIGH }))).toBe(false);
      expect(isSampled(sampler, question({ ...asked, spanId: SPAN_LOW }))).toBe(true);
    }
  });

  test("isSampled decides by the trace id where nobody could choose it, and where its sender is trusted", () => {
    const sampler = { ratio: 0.5, isParentBased: false };
    for (const [traceId, expected] of [
      [LOW, true],
      [HIGH, false],
      // The half of the id that OpenTelemetry's samplers read, on both sides of the bound.
      [`${"f".repeat(16)}7fffffffffffffff`, true],
      [`${"0".repeat(16)}8000000000000000`, false],
    ] as const) {
      expect(isSampled(sampler, question({ traceId }))).toBe(expected);
      expect(isSampled(sampler, question({ traceId, parent: parentOf(traceId, false), isTrusted: true }))).toBe(
        expected,
      );
    }
  });

  test("isSampled takes all at 1, none at 0, and about the ratio between them", () => {
    const ids = createSpanIds();
    const count = (ratio: number): number => {
      let taken = 0;
      for (let i = 0; i < 20_000; i++) {
        const asked = question({ traceId: ids.nextTraceId(), spanId: ids.nextSpanId() });
        if (isSampled({ ratio, isParentBased: true }, asked)) taken++;
      }
      return taken;
    };
    expect(count(0)).toBe(0);
    expect(count(1)).toBe(20_000);
    // The standard deviation is 14: the test fails by chance once in 10^12 runs.
    expect(Math.abs(count(0.01) - 200)).toBeLessThan(100);
    expect(isSampled({ ratio: 0, isParentBased: true }, question({ traceId: LOW }))).toBe(false);
    expect(isSampled({ ratio: 1, isParentBased: true }, question({}))).toBe(true);
  });
});

test("createSpanIds makes ids of the right length, each once, and none of zeros", () => {
  const ids = createSpanIds();
  const seen = new Set<string>();
  for (let i = 0; i < 2_000; i++) {
    const [trace, span] = [ids.nextTraceId(), ids.nextSpanId()];
    expect(trace).toMatch(/^[0-9a-f]{32}$/);
    expect(span).toMatch(/^[0-9a-f]{16}$/);
    seen.add(trace).add(span);
  }
  expect(seen.size).toBe(4_000);
  let fills = 0;
  const zeros = createSpanIds((bytes) => void bytes.fill(fills++ === 0 ? 0 : 0xab));
  expect(zeros.nextSpanId()).toBe("ab".repeat(8));
});
