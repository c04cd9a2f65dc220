import { describe, expect, test } from "bun:test";

import {
  formatBytes,
  formatCount,
  formatDelay,
  formatRate,
  formatSpan,
  shorten,
} from "../../../../src/admin/dashboard/format.ts";

describe("the dashboard's formats", () => {
  test.each([
    [undefined, "–"],
    [0, "0"],
    [12_345, "12,345"],
  ])("formatCount: %p is %s", (count, text) => {
    expect(formatCount(count)).toBe(text);
  });

  test.each([
    [0, "0"],
    [0.04, "0"],
    [3.25, "3.3"],
    [123.4, "123"],
  ])("formatRate: %p is %s", (rate, text) => {
    expect(formatRate(rate)).toBe(text);
  });

  test.each([
    [undefined, "–"],
    [0.25, "0.3 ms"],
    [12.6, "13 ms"],
    [999.4, "999 ms"],
    [999.7, "1 s"],
    [1_250, "1.3 s"],
  ])("formatDelay: %p is %s", (ms, text) => {
    expect(formatDelay(ms)).toBe(text);
  });

  test.each([
    [-5, "0 s"],
    [59_999, "59 s"],
    [60_000, "1 min"],
    [3_600_000, "1 h"],
    [47 * 3_600_000, "47 h"],
    [48 * 3_600_000, "2 days"],
  ])("formatSpan: %p is %s", (ms, text) => {
    expect(formatSpan(ms)).toBe(text);
  });

  test.each([
    [undefined, "–"],
    [0, "0 B"],
    [1_023, "1,023 B"],
    [1_024, "1 KiB"],
    [1_572_864, "1.5 MiB"],
    [2 ** 60, "1,048,576 TiB"],
  ])("formatBytes: %p is %s", (bytes, text) => {
    expect(formatBytes(bytes)).toBe(text);
  });

  test("shorten: keeps a text of the longest length, and marks what it cuts", () => {
    expect([shorten("abc", 3), shorten("abcd", 3)]).toEqual(["abc", "abc…"]);
  });
});
