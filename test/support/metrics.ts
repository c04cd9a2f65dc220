import { systemClock } from "../../src/clock.ts";
import { silentLogger } from "../../src/log/logger.ts";
import { createMetrics, type Metrics, type MetricsOptions } from "../../src/metrics/metrics.ts";

/** Metrics of a made-up build and process. */
export function createTestMetrics(options: Partial<MetricsOptions> = {}): Metrics {
  return createMetrics({
    buildInfo: { version: "1.2.3", commit: "abc", buildTime: "now", bunVersion: "1", platform: "test" },
    clock: systemClock,
    logger: silentLogger,
    process: { cpuMs: () => 1_500, residentBytes: () => 4_096, collectGarbage: () => {} },
    otlp: undefined,
    ...options,
  });
}
