import type { OtlpConfig } from "../metrics/otlp-config.ts";
import { quote } from "../log/quote.ts";
import {
  checkProtocol,
  type Environment,
  isSdkDisabled,
  type OtlpSource,
  readEndpoint,
  readExporters,
  readHeaders,
  readTimeout,
  readVariable,
  warnOfOtherExporters,
} from "./otlp-variables.ts";

/**
 * Export interval: OpenTelemetry's default, and bounds against mistakes that would flood the collector or stop the
 * export.
 */
const INTERVAL_DEFAULT_MS = 60_000;
const INTERVAL_MIN_MS = 1_000;
const INTERVAL_MAX_MS = 86_400_000;

/**
 * Where metrics are pushed, by the rules of docs/contract.md §8; undefined: nowhere. An invalid setting adds a warning
 * and is ignored: the ingress must start without metrics. No warning repeats a header's value or a URL's password.
 *
 * @param hostInfo The text of `HOST_INFO_PATH`; empty: there is none.
 */
export function readOtlp(env: Environment, warnings: string[], hostInfo = ""): OtlpConfig | undefined {
  const source: OtlpSource = { env, warnings, hostInfo };
  if (isSdkDisabled(env)) return undefined;
  const exporters = readExporters(source, "METRICS");
  if (exporters.includes("none")) return undefined;
  const url = readEndpoint(source, "METRICS")?.url;
  if (url === undefined) return undefined;
  warnOfOtherExporters(source, "METRICS", exporters);
  checkProtocol(source, "METRICS");
  return Object.freeze({
    url,
    temporality: readTemporality(env, warnings),
    intervalMs: readInterval(env, warnings),
    timeoutMs: readTimeout(source, "METRICS"),
    headers: readHeaders(source, "METRICS"),
  });
}

function readTemporality(env: Environment, warnings: string[]): OtlpConfig["temporality"] {
  const name = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE";
  const text = readVariable(env, name).toLowerCase();
  if (text === "cumulative" || text === "delta" || text === "lowmemory") return text;
  if (text !== "") warnings.push(`${name}: ${quote(text)} is ignored: expected cumulative, delta or lowmemory`);
  return "delta";
}

function readInterval(env: Environment, warnings: string[]): number {
  const name = "OTEL_METRIC_EXPORT_INTERVAL";
  const text = readVariable(env, name);
  if (text === "") return INTERVAL_DEFAULT_MS;
  const ms = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN;
  if (ms >= INTERVAL_MIN_MS && ms <= INTERVAL_MAX_MS) return ms;
  warnings.push(
    `${name}: ${quote(text)} is ignored: expected milliseconds between ${INTERVAL_MIN_MS} and ${INTERVAL_MAX_MS}`,
  );
  return INTERVAL_DEFAULT_MS;
}
