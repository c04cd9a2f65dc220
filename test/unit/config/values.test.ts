import { describe, expect, test } from "bun:test";
import {
  DURATION_MAX_MS,
  formatDuration,
  formatSize,
  parseBoolean,
  parseDurationMs,
  parseInteger,
  parseSizeBytes,
} from "../../../src/config/values.ts";
import { createRandom } from "../../../scripts/lib/stage/random.ts";

describe("parseDurationMs", () => {
  test.each([
    ["0", 0],
    ["+0", 0],
    ["0s", 0],
    ["5s", 5_000],
    ["+5s", 5_000],
    ["300ms", 300],
    ["1m30s", 90_000],
    ["1h2m3.5s", 3_723_500],
    ["1.5h", 5_400_000],
    [".5s", 500],
    ["1.s", 1_000],
    ["2000000us", 2_000],
    ["1500µs", 2],
    ["1500μs", 2],
    ["1ns", 1],
    ["0.1000000000000000000000001ms", 1],
    ["2147483647ms", DURATION_MAX_MS],
  ])("parseDurationMs(%j) is %d", (text, expected) => expect(parseDurationMs(text)).toBe(expected));

  test.each([
    "",
    "+",
    "-0",
    "-1s",
    "5",
    "1.5",
    "s",
    ".s",
    ".",
    "1 s",
    " 1s",
    "1s ",
    "1d",
    "1S",
    "1sm",
    "--1s",
    "1e3s",
    "１s",
  ])("parseDurationMs refuses %j", (text) => expect(() => parseDurationMs(text)).toThrow());

  test.each(["2147483648ms", "597h", "9223372036854775808ns", `${"9".repeat(10_000)}h`])(
    "parseDurationMs refuses what is too long: %#",
    (text) => expect(() => parseDurationMs(text)).toThrow("is too long"),
  );
});

describe("parseSizeBytes", () => {
  test.each([
    ["0", 0],
    ["65536", 65_536],
    ["1B", 1],
    ["64KiB", 65_536],
    ["64kib", 65_536],
    ["64Ki", 65_536],
    ["64MiB", 67_108_864],
    ["1GiB", 2 ** 30],
    ["1TiB", 2 ** 40],
    ["10MB", 10_000_000],
    ["1kB", 1_000],
  ])("parseSizeBytes(%j) is %d", (text, expected) => expect(parseSizeBytes(text)).toBe(expected));

  test.each([
    "",
    "-1",
    "+1",
    "1.5GiB",
    "1 MiB",
    "MiB",
    "1m",
    "1M",
    "1k",
    "1e3",
    "0x10",
    "1PiB",
    "99999999999999999",
    "9000000TiB",
  ])("parseSizeBytes refuses %j", (text) => expect(() => parseSizeBytes(text)).toThrow());
});

test.each([
  ["0", 0],
  ["-0", 0],
  ["+7", 7],
  ["-7", -7],
  ["65535", 65_535],
])("parseInteger(%j) is %d", (text, expected) => expect(parseInteger(text)).toBe(expected));

test.each(["", "+", "1.0", "1e3", "0x1f", "0b1", "010", "1_000", " 1", "1 ", "NaN", "Infinity", "9007199254740993"])(
  "parseInteger refuses %j",
  (text) => expect(() => parseInteger(text)).toThrow(),
);

test.each(["", "yes", "no", "on", "tRUE", "2", " true"])("parseBoolean refuses %j", (text) =>
  expect(() => parseBoolean(text)).toThrow("expected true or false"),
);

test("formatDuration and formatSize write what their parsers read", () => {
  const random = createRandom(7);
  for (let round = 0; round < 1_000; round += 1) {
    const ms = random.integer(DURATION_MAX_MS);
    expect(parseDurationMs(formatDuration(ms))).toBe(ms);
    const bytes = random.integer(2 ** 40);
    expect(parseSizeBytes(formatSize(bytes))).toBe(bytes);
  }
  expect([formatDuration(0), formatDuration(90_000), formatSize(65_536)]).toEqual(["0", "1m30s", "64KiB"]);
});
