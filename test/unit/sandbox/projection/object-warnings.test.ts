import { describe, expect, test } from "bun:test";
import { systemClock, type Clock } from "../../../../src/clock.ts";
import { createObjectWarnings } from "../../../../src/sandbox/projection/object-warnings.ts";
import { createRecordingLogger } from "../../../../scripts/lib/stage/recording-logger.ts";

describe("createObjectWarnings", () => {
  test("logs a warning once for each object, and again when it changes or returns", () => {
    const logger = createRecordingLogger();
    const warnings = createObjectWarnings(logger, systemClock);
    warnings.report("ns/a", "bad");
    warnings.report("ns/a", "bad");
    warnings.report("ns/b", "bad");
    warnings.report("ns/a", "worse");
    warnings.report("ns/a", undefined);
    warnings.report("ns/a", "worse");
    expect(logger.find("warn", /./)).toEqual([
      "Kubernetes: ns/a: bad",
      "Kubernetes: ns/b: bad",
      "Kubernetes: ns/a: worse",
      "Kubernetes: ns/a: worse",
    ]);
  });

  test("logs at most 20 in a minute, and then how many it left out", () => {
    let nowMs = 0;
    const clock: Clock = { ...systemClock, monotonic: () => nowMs };
    const logger = createRecordingLogger();
    const warnings = createObjectWarnings(logger, clock);
    for (let i = 0; i < 5000; i++) warnings.report(`ns/${i}`, "bad");
    expect(logger.lines).toHaveLength(20);
    nowMs = 60_000;
    warnings.report("ns/next", "bad");
    expect(logger.lines.slice(20).map(({ message }) => message)).toEqual([
      "Kubernetes: 4980 more warnings about objects were left out",
      "Kubernetes: ns/next: bad",
    ]);
  });
});
