import { describe, expect, test } from "bun:test";

import { formatNumber, formatPerformanceDocument } from "../../../../scripts/lib/bench/format-performance.ts";
import { MACHINE, sampleCase } from "../../../support/bench-samples.ts";

const DOCUMENT =
  "# By hand\n\n<!-- bench -->\nold\n<!-- /bench -->\n\nBetween.\n\n<!-- limits -->\n<!-- /limits -->\n\nEnd.\n";

const cases = [
  sampleCase(
    {},
    {
      ingress: [
        { perSecond: 28_123, cpu: 41.24 },
        { perSecond: 28_123, cpu: 41.24 },
      ],
      bare: [
        { perSecond: 36_300, cpu: 31 },
        { perSecond: 36_300, cpu: 31 },
      ],
      nginx: [
        { perSecond: 50_000, cpu: 16 },
        { perSecond: 50_000, cpu: 16 },
      ],
    },
  ),
  sampleCase(
    { name: "download-1g", title: "1 GB down, one stream", unit: "GB" },
    {
      ingress: [
        { perSecond: 0.98, cpu: 0.5 },
        { perSecond: 0.98, cpu: 0.5 },
      ],
    },
  ),
  sampleCase(
    { name: "start", title: "Start to the first forwarded answer", unit: "starts", compared: "startMs" },
    {
      ingress: [
        { startMs: 97, residentMb: 64 },
        { startMs: 97, residentMb: 64 },
      ],
    },
  ),
  sampleCase(
    { name: "policy", title: "GET 1 KB" },
    { ingress: [{ perSecond: 100, cpu: 10, p99Ms: 1 }], policy: [{ perSecond: 99, cpu: 11, p99Ms: 2 }] },
  ),
];

describe("formatPerformanceDocument", () => {
  test("formatPerformanceDocument: without results it says so, and keeps what is written by hand", () => {
    const text = formatPerformanceDocument(DOCUMENT, {});
    expect(text).toBe(
      "# By hand\n\n<!-- bench -->\n\nNot measured yet.\n\n<!-- /bench -->\n\nBetween.\n\n<!-- limits -->\n\nNot measured yet.\n\n<!-- /limits -->\n\nEnd.\n",
    );
    expect(formatPerformanceDocument(text, {})).toBe(text);
  });

  test.each(["# none", "<!-- bench --><!-- /bench -->", "<!-- /bench --><!-- bench -->"])(
    "formatPerformanceDocument: throws if a part has no place: %s",
    (document) => {
      expect(() => formatPerformanceDocument(document, {})).toThrow("Cannot write the results");
    },
  );

  test("formatPerformanceDocument: every case has a row with its unit, and empty cells where nothing was measured", () => {
    const text = formatPerformanceDocument(DOCUMENT, { bench: { machine: MACHINE, seconds: 3, cases } });
    const squeezed = text.replaceAll(/ +/g, " ");
    for (const row of [
      "| | ingress | forwarder | nginx |",
      "| GET 1 KB, 64 connections: /s | 28,100 | 36,300 | 50,000 |",
      "| 1 GB down, one stream: GB/s | 0.98 | | |",
      "| Start to the first forwarded answer | 97 ms | | |",
      "| GET 1 KB, 64 connections | 41.2 µs | 31 µs | 16 µs |",
      "| 1 GB down, one stream | 0.5 s | | |",
      "| idle | 64 MB |",
      "| GET 1 KB: /s | 100 | 99 |",
      "| GET 1 KB: processor time each | 10 µs | 11 µs |",
      "| GET 1 KB: p99 | 1 ms | 2 ms |",
      "| GET 1 KB, 64 connections | ≥ 0.55 of nginx | 0.56 | 0.73 | met |",
    ]) {
      expect(squeezed).toContain(row);
    }
    // What is measured against itself is in its own table only.
    expect(squeezed.match(/GET 1 KB: \/s/g)).toHaveLength(1);
    expect(text.replaceAll("\n", " ")).toContain("on 2026-01-02 on 2 cores (A processor) with 25 GB");
    expect(text.replaceAll("\n", " ")).toContain("Linux 6.18.44, Bun 1.4.5, nginx 1.22.1.");
  });

  test("formatPerformanceDocument: no line of prose is longer than 120 characters", () => {
    const text = formatPerformanceDocument(DOCUMENT, { bench: { machine: MACHINE, seconds: 3, cases } });
    const prose = text.split("\n").filter((line) => !line.startsWith("|"));
    for (const line of prose) expect(line.length).toBeLessThanOrEqual(120);
  });

  test("formatPerformanceDocument: limits have a row each", () => {
    const limit = { p99Ms: 60.5, messagesPerSecond: 9_000, startMs: 200, residentMb: 90 };
    const limits = {
      machine: MACHINE,
      rounds: 5,
      seconds: 3,
      ratePerSecond: 1_000,
      limits: [
        { ...limit, title: "500m", requestsPerSecond: 8_765, throttledPart: 0.5 },
        { ...limit, title: "none", requestsPerSecond: 20_000, throttledPart: 0 },
      ],
    };
    const text = formatPerformanceDocument(DOCUMENT, { limits }).replaceAll(/ +/g, " ");
    expect(text).toContain("| 500m | 8,770 | 60.5 ms | 9,000 | 200 ms | 90 MB | 50 % |");
    expect(text).toContain("| none | 20,000 | 60.5 ms | 9,000 | 200 ms | 90 MB | 0 % |");
    expect(text.replaceAll("\n", " ")).toContain("at 1,000 requests per second");
  });
});

test.each([
  [0.0412, "0.041"],
  [0.98, "0.98"],
  [41.24, "41.2"],
  [119.6, "120"],
  [28_123, "28,100"],
])("formatNumber: %d as %s", (value, text) => {
  expect(formatNumber(value)).toBe(text);
});
