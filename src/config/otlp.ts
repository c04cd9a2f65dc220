import { formatUrlHost, parseAddress } from "../address.ts";
import type { OtlpConfig } from "../metrics/otlp-config.ts";
import { quote } from "../log/quote.ts";

/** The program's environment. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** The port of OTLP over HTTP (OpenTelemetry Protocol specification). */
const OTLP_HTTP_PORT = 4318;
/**
 * Export interval: OpenTelemetry's default, and bounds against mistakes that would flood the collector or stop the
 * export.
 */
const INTERVAL_DEFAULT_MS = 60_000;
const INTERVAL_MIN_MS = 1_000;
const INTERVAL_MAX_MS = 86_400_000;

/** A file in which some platforms put the address of the node. */
export const HOST_INFO_PATH = "/etc/hostinfo";

/**
 * Where metrics are pushed, by the rules of docs/contract.md §8; undefined: nowhere. An invalid setting adds a warning
 * and is ignored: the ingress must start without metrics. No warning repeats a header's value or a URL's password.
 *
 * @param hostInfo The text of `HOST_INFO_PATH`; empty: there is none.
 */
export function readOtlp(env: Environment, warnings: string[], hostInfo = ""): OtlpConfig | undefined {
  if (read(env, "OTEL_SDK_DISABLED").toLowerCase() === "true") return undefined;
  const exporters = splitList(read(env, "OTEL_METRICS_EXPORTER"));
  if (exporters.includes("none")) return undefined;
  const url = readEndpoint(env, warnings, hostInfo);
  if (url === undefined) return undefined;
  for (const exporter of exporters) {
    if (exporter !== "otlp")
      warnings.push(`OTEL_METRICS_EXPORTER: ${quote(exporter)} is ignored: expected otlp or none`);
  }
  for (const name of ["OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"]) {
    if (read(env, name) === "grpc") warnings.push(`${name}: grpc is ignored: metrics are pushed as JSON over HTTP`);
  }
  return Object.freeze({
    url,
    temporality: readTemporality(env, warnings),
    intervalMs: readInterval(env, warnings),
    headers: Object.freeze({
      ...readHeaders(env, "OTEL_EXPORTER_OTLP_HEADERS", warnings),
      ...readHeaders(env, "OTEL_EXPORTER_OTLP_METRICS_HEADERS", warnings),
    }),
  });
}

/** An empty variable counts as unset (OpenTelemetry environment variable specification). */
function read(env: Environment, name: string): string {
  return env[name]?.trim() ?? "";
}

function splitList(text: string): readonly string[] {
  return text
    .split(",")
    .map((part) => part.trim())
    .filter((part) => part !== "");
}

function readEndpoint(env: Environment, warnings: string[], hostInfo: string): string | undefined {
  const own = read(env, "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT");
  if (own !== "") return checkUrl("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", own, warnings)?.href;
  const shared = read(env, "OTEL_EXPORTER_OTLP_ENDPOINT");
  if (shared !== "") {
    const url = checkUrl("OTEL_EXPORTER_OTLP_ENDPOINT", shared, warnings);
    if (url === undefined) return undefined;
    url.pathname = `${url.pathname.replace(/\/+$/, "")}/v1/metrics`;
    return url.href;
  }
  const variable = read(env, "HOST_IP");
  const node = variable === "" ? hostInfo.trim() : variable;
  if (node === "") return undefined;
  const address = parseAddress(node);
  if (address !== undefined) return `http://${formatUrlHost(address)}:${OTLP_HTTP_PORT}/v1/metrics`;
  const source = variable === "" ? HOST_INFO_PATH : "HOST_IP";
  warnings.push(`${source}: ${quote(node)} is ignored: expected an IP address`);
  return undefined;
}

function checkUrl(name: string, text: string, warnings: string[]): URL | undefined {
  const url = URL.parse(text);
  if (
    url !== null &&
    (url.protocol === "http:" || url.protocol === "https:") &&
    url.username === "" &&
    url.password === ""
  ) {
    return url;
  }
  // The warning does not repeat the text: a URL may contain a password.
  warnings.push(`${name} is ignored: expected http://host:port or https://host:port; metrics are not pushed`);
  return undefined;
}

function readTemporality(env: Environment, warnings: string[]): OtlpConfig["temporality"] {
  const name = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE";
  const text = read(env, name).toLowerCase();
  if (text === "cumulative" || text === "delta" || text === "lowmemory") return text;
  if (text !== "") warnings.push(`${name}: ${quote(text)} is ignored: expected cumulative, delta or lowmemory`);
  return "delta";
}

function readInterval(env: Environment, warnings: string[]): number {
  const name = "OTEL_METRIC_EXPORT_INTERVAL";
  const text = read(env, name);
  if (text === "") return INTERVAL_DEFAULT_MS;
  const ms = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN;
  if (ms >= INTERVAL_MIN_MS && ms <= INTERVAL_MAX_MS) return ms;
  warnings.push(
    `${name}: ${quote(text)} is ignored: expected milliseconds between ${INTERVAL_MIN_MS} and ${INTERVAL_MAX_MS}`,
  );
  return INTERVAL_DEFAULT_MS;
}

/** `name=value` pairs separated by commas, values percent-encoded (W3C Baggage without its properties). */
function readHeaders(env: Environment, variable: string, warnings: string[]): Readonly<Record<string, string>> {
  const headers: Record<string, string> = {};
  for (const pair of splitList(read(env, variable))) {
    const equals = pair.indexOf("=");
    const name = pair.slice(0, Math.max(equals, 0)).trim().toLowerCase();
    try {
      const value = decodeURIComponent(pair.slice(equals + 1).trim());
      // Throws for a name or value that a header cannot have.
      new Headers().set(name, value);
      headers[name] = value;
    } catch {
      warnings.push(`${variable}: ignored an invalid part: expected name=value, separated by commas`);
    }
  }
  return headers;
}
