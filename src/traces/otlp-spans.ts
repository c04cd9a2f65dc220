import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-http";

import type { BuildInfo } from "../version.ts";
import { type HrTime, SpanKind, SpanStatusCode, TraceFlags } from "../metrics/otel.ts";
import { createResource } from "../metrics/resource.ts";
import type { Span } from "./span.ts";
import type { TracesConfig } from "./traces-config.ts";

type ReadableSpan = Parameters<OTLPTraceExporter["export"]>[0][number];

/** The name of the instrumentation scope, the same as that of the metrics. */
const SCOPE_NAME = "opensandbox/ingress";

const MS_PER_SECOND = 1_000;
const NS_PER_MS = 1e6;

/**
 * Creates the function that pushes spans as JSON over OTLP/HTTP. It resolves when the collector has taken them, and
 * rejects with the reason if it does not within the time limit, retries included.
 */
export function createSpanPush(config: TracesConfig, buildInfo: BuildInfo): (spans: readonly Span[]) => Promise<void> {
  const exporter = new OTLPTraceExporter({
    url: config.url,
    headers: { ...config.headers },
    timeoutMillis: config.timeoutMs,
    concurrencyLimit: 1,
  });
  const common = {
    resource: createResource(buildInfo),
    instrumentationScope: { name: SCOPE_NAME },
    links: [],
    events: [],
    ended: true,
    droppedAttributesCount: 0,
    droppedEventsCount: 0,
    droppedLinksCount: 0,
  };
  const toReadable = (span: Span): ReadableSpan => {
    const { name, kind, traceId, spanId, parentSpanId, startMs, endMs } = span;
    return {
      ...common,
      name,
      kind: kind === "server" ? SpanKind.SERVER : SpanKind.CLIENT,
      spanContext: () => ({ traceId, spanId, traceFlags: TraceFlags.SAMPLED }),
      ...(parentSpanId === undefined
        ? {}
        : {
            parentSpanContext: {
              traceId,
              spanId: parentSpanId,
              traceFlags: TraceFlags.SAMPLED,
              isRemote: kind === "server",
            },
          }),
      startTime: toHrTime(startMs),
      endTime: toHrTime(endMs),
      duration: toHrTime(endMs - startMs),
      status: { code: span.isError ? SpanStatusCode.ERROR : SpanStatusCode.UNSET },
      attributes: span.attributes,
    };
  };
  return (spans) =>
    new Promise((resolve, reject) => {
      exporter.export(spans.map(toReadable), ({ error }) => {
        if (error === undefined) resolve();
        else reject(error);
      });
    });
}

/** Whole seconds, and the rest in nanoseconds. */
function toHrTime(ms: number): HrTime {
  const seconds = Math.floor(ms / MS_PER_SECOND);
  return [seconds, Math.floor((ms - seconds * MS_PER_SECOND) * NS_PER_MS)];
}
