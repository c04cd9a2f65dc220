/** The parts of OpenTelemetry's API that metrics and traces use. */
export { type HrTime, type Meter, SpanKind, SpanStatusCode, TraceFlags, ValueType } from "@opentelemetry/api";
