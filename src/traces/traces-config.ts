/** From the OTEL_* variables. */
export interface TracesConfig {
  /** Full URL of the traces endpoint. */
  readonly url: string;
  /** OTEL_EXPORTER_OTLP_HEADERS and OTEL_EXPORTER_OTLP_TRACES_HEADERS. Never logged. */
  readonly headers: Readonly<Record<string, string>>;
  /** OTEL_EXPORTER_OTLP_TRACES_TIMEOUT, OTEL_EXPORTER_OTLP_TIMEOUT, 10 s: one push including its retries. */
  readonly timeoutMs: number;
  readonly sampler: SamplerConfig;
}

/** OTEL_TRACES_SAMPLER and OTEL_TRACES_SAMPLER_ARG; default: parent-based, 1 %. */
export interface SamplerConfig {
  /** Part of the requests that is recorded: 0 none, 1 all. */
  readonly ratio: number;
  /** Whether the sampled flag of a trusted peer decides, and the ratio only where there is none. */
  readonly isParentBased: boolean;
}
