import { describe, expect, test } from "bun:test";
import { formatTraceParent, isTraceState, parseTraceParent } from "../../../src/traces/trace-context.ts";

const TRACE = "0af7651916cd43dd8448eb211c80319c";
const SPAN = "b7ad6b7169203331";

describe("parseTraceParent", () => {
  test.each([
    ["01", true],
    ["00", false],
    // Unknown flags are ignored.
    ["ff", true],
    ["fe", false],
    ["02", false],
  ])("parseTraceParent reads the flags %s", (flags, isSampled) => {
    expect(parseTraceParent(`00-${TRACE}-${SPAN}-${flags}`)).toEqual({ traceId: TRACE, spanId: SPAN, isSampled });
  });

  test.each([`01-${TRACE}-${SPAN}-01`, `cc-${TRACE}-${SPAN}-01-what-comes-later`, `fe-${TRACE}-${SPAN}-01-`])(
    "parseTraceParent reads %s of a later version",
    (text) => {
      expect(parseTraceParent(text)).toEqual({ traceId: TRACE, spanId: SPAN, isSampled: true });
    },
  );

  test.each([
    undefined,
    "",
    "00",
    TRACE,
    `00-${TRACE}-${SPAN}`,
    `00-${TRACE}-${SPAN}-`,
    `00-${TRACE}-${SPAN}-1`,
    `00-${TRACE}-${SPAN}-0g`,
    `00-${TRACE}-${SPAN}-01-`,
    `00-${TRACE}-${SPAN}-01-more`,
    `00-${TRACE}-${SPAN}-01 `,
    `00-${TRACE}-${SPAN}-01\n`,
    `01-${TRACE}-${SPAN}-01.`,
    `01-${TRACE}-${SPAN}-010`,
    `ff-${TRACE}-${SPAN}-01`,
    `0-${TRACE}-${SPAN}-01`,
    `00-${"0".repeat(32)}-${SPAN}-01`,
    `00-${TRACE}-${"0".repeat(16)}-01`,
    `00-${TRACE.toUpperCase()}-${SPAN}-01`,
    `00-${TRACE}-${SPAN.toUpperCase()}-01`,
    `00-${TRACE}0-${SPAN}-01`,
    `00_${TRACE}_${SPAN}_01`,
    `00-${TRACE}-${SPAN}-01, 00-${TRACE}-${SPAN}-01`,
    `01-${TRACE}-${SPAN}-01-${"a".repeat(1_000)}`,
  ])("parseTraceParent refuses %j", (text) => {
    expect(parseTraceParent(text)).toBeUndefined();
  });

  test("formatTraceParent writes what parseTraceParent reads", () => {
    const text = formatTraceParent(TRACE, SPAN, "01");
    expect(text).toBe(`00-${TRACE}-${SPAN}-01`);
    expect(parseTraceParent(text)).toEqual({ traceId: TRACE, spanId: SPAN, isSampled: true });
  });
});

describe("isTraceState", () => {
  const members = (count: number): string => Array.from({ length: count }, (_, at) => `k${at}=v`).join(",");
  /** The longest that keeps every limit. */
  const largest = Array.from({ length: 32 }, (_, at) => `k${at}`.padEnd(256, "x"))
    .map((key) => `${key}=${"v".repeat(256)}`)
    .join(",");

  test.each([
    "",
    "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE",
    " a=1 ,\tb=2 ",
    ",a=1,,",
    "1tenant@vendor=x",
    "a_b-c*d/e=x",
    "a= leading space",
    `${"k".repeat(256)}=v`,
    `a=${"v".repeat(256)}`,
    `${"t".repeat(241)}@${"v".repeat(14)}=x`,
    members(32),
    largest,
  ])("isTraceState accepts %p", (text) => {
    expect(isTraceState(text)).toBe(true);
  });

  test.each([
    "a",
    "=1",
    "a=",
    "A=1",
    "1=1",
    "a=b=c",
    "a b=1",
    "a@=1",
    "@a=1",
    "a@1=1",
    "a=\u00e9",
    "a=\u0001",
    `${"k".repeat(257)}=v`,
    `a=${"v".repeat(257)}`,
    `${"t".repeat(242)}@v=x`,
    `t@${"v".repeat(15)}=x`,
    members(33),
    ",".repeat(65_536),
    "a".repeat(65_536),
    `a=${" ".repeat(65_536)}`,
  ])("isTraceState refuses %p", (text) => {
    expect(isTraceState(text)).toBe(false);
  });

  test("isTraceState takes no longer for blanks within a member, so that a client cannot hold up others", () => {
    const hostile = `a=b${" ".repeat(16_000)}c`;
    // A thousand of what takes a tenth of a second take minutes.
    for (let times = 0; times < 1_000; times++) expect(isTraceState(hostile)).toBe(false);
  });
});
