/** From the OTEL_* variables and HOST_IP (docs/contract.md §8). */
export interface OtlpConfig {
  /** Full URL of the metrics endpoint. */
  readonly url: string;
  readonly temporality: "cumulative" | "delta" | "lowmemory";
  /** Export interval, OTEL_METRIC_EXPORT_INTERVAL, 60 s. */
  readonly intervalMs: number;
  /** OTEL_EXPORTER_OTLP_METRICS_TIMEOUT, OTEL_EXPORTER_OTLP_TIMEOUT, 10 s: one push including its retries. */
  readonly timeoutMs: number;
  /** OTEL_EXPORTER_OTLP_HEADERS and OTEL_EXPORTER_OTLP_METRICS_HEADERS. Never logged. */
  readonly headers: Readonly<Record<string, string>>;
}
