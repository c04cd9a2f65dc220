import { formatUrlHost, parseAddress } from "../address.ts";
import { quote } from "../log/quote.ts";

/** The program's environment. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** What is pushed: part of the names of variables. */
export type OtlpSignal = "METRICS" | "TRACES";

/** The environment and whoever wants to know what is wrong in it. */
export interface OtlpSource {
  readonly env: Environment;
  /** No warning repeats a header's value or a URL's password. */
  readonly warnings: string[];
  /** The text of `HOST_INFO_PATH`; empty: there is none. */
  readonly hostInfo: string;
}

/** The port of OTLP over HTTP (OpenTelemetry Protocol specification). */
const OTLP_HTTP_PORT = 4318;
/** One push including its retries: OpenTelemetry's default, and a bound, since a longer one would meet the next. */
const TIMEOUT_DEFAULT_MS = 10_000;
const TIMEOUT_MAX_MS = 60_000;

/** A file in which some platforms put the address of the node. */
export const HOST_INFO_PATH = "/etc/hostinfo";

/** An empty variable counts as unset (OpenTelemetry environment variable specification). */
export function readVariable(env: Environment, name: string): string {
  return env[name]?.trim() ?? "";
}

function splitList(text: string): readonly string[] {
  return text
    .split(",")
    .map((part) => part.trim())
    .filter((part) => part !== "");
}

export function isSdkDisabled(env: Environment): boolean {
  return readVariable(env, "OTEL_SDK_DISABLED").toLowerCase() === "true";
}

/** The full URL; undefined: none is set, or an invalid one. */
export function readEndpoint(source: OtlpSource, signal: OtlpSignal): { readonly url: string | undefined } | undefined {
  const { env, hostInfo } = source;
  const path = `/v1/${signal.toLowerCase()}`;
  const ownName = `OTEL_EXPORTER_OTLP_${signal}_ENDPOINT`;
  const own = readVariable(env, ownName);
  if (own !== "") return { url: checkUrl(source, signal, { name: ownName, text: own })?.href };
  const shared = readVariable(env, "OTEL_EXPORTER_OTLP_ENDPOINT");
  if (shared !== "") {
    const url = checkUrl(source, signal, { name: "OTEL_EXPORTER_OTLP_ENDPOINT", text: shared });
    if (url !== undefined) url.pathname = `${url.pathname.replace(/\/+$/, "")}${path}`;
    return { url: url?.href };
  }
  const variable = readVariable(env, "HOST_IP");
  const node = variable === "" ? hostInfo.trim() : variable;
  if (node === "") return undefined;
  const address = parseAddress(node);
  if (address !== undefined) return { url: `http://${formatUrlHost(address)}:${OTLP_HTTP_PORT}${path}` };
  warnOnce(
    source,
    `${variable === "" ? HOST_INFO_PATH : "HOST_IP"}: ${quote(node)} is ignored: expected an IP address`,
  );
  return undefined;
}

function checkUrl(
  source: OtlpSource,
  signal: OtlpSignal,
  { name, text }: { name: string; text: string },
): URL | undefined {
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
  const what = signal.toLowerCase();
  source.warnings.push(`${name} is ignored: expected http://host:port or https://host:port; ${what} are not pushed`);
  return undefined;
}

/** Warns about protocols other than JSON over HTTP. */
export function checkProtocol(source: OtlpSource, signal: OtlpSignal): void {
  for (const name of [`OTEL_EXPORTER_OTLP_${signal}_PROTOCOL`, "OTEL_EXPORTER_OTLP_PROTOCOL"]) {
    if (readVariable(source.env, name) !== "grpc") continue;
    warnOnce(source, `${name}: grpc is ignored: ${signal.toLowerCase()} are pushed as JSON over HTTP`);
  }
}

/** `OTEL_EXPORTER_OTLP_<signal>_TIMEOUT`, else `OTEL_EXPORTER_OTLP_TIMEOUT`, in milliseconds. */
export function readTimeout(source: OtlpSource, signal: OtlpSignal): number {
  for (const name of [`OTEL_EXPORTER_OTLP_${signal}_TIMEOUT`, "OTEL_EXPORTER_OTLP_TIMEOUT"]) {
    const text = readVariable(source.env, name);
    if (text === "") continue;
    const ms = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN;
    if (ms >= 1 && ms <= TIMEOUT_MAX_MS) return ms;
    warnOnce(source, `${name}: ${quote(text)} is ignored: expected milliseconds between 1 and ${TIMEOUT_MAX_MS}`);
  }
  return TIMEOUT_DEFAULT_MS;
}

/** The headers for all signals and those for one, which win. */
export function readHeaders(source: OtlpSource, signal: OtlpSignal): Readonly<Record<string, string>> {
  return Object.freeze({
    ...parseHeaders(source, "OTEL_EXPORTER_OTLP_HEADERS"),
    ...parseHeaders(source, `OTEL_EXPORTER_OTLP_${signal}_HEADERS`),
  });
}

/** `name=value` pairs separated by commas, values percent-encoded (W3C Baggage without its properties). */
function parseHeaders(source: OtlpSource, variable: string): Readonly<Record<string, string>> {
  const headers: Record<string, string> = {};
  for (const pair of splitList(readVariable(source.env, variable))) {
    const equals = pair.indexOf("=");
    const name = pair.slice(0, Math.max(equals, 0)).trim().toLowerCase();
    try {
      const value = decodeURIComponent(pair.slice(equals + 1).trim());
      // Throws for a name or value that a header cannot have.
      new Headers().set(name, value);
      headers[name] = value;
    } catch {
      warnOnce(source, `${variable}: ignored an invalid part: expected name=value, separated by commas`);
    }
  }
  return headers;
}

/** Metrics and traces read the same variables, and one warning is enough. */
function warnOnce({ warnings }: OtlpSource, text: string): void {
  if (!warnings.includes(text)) warnings.push(text);
}

/** The exporters that `OTEL_<signal>_EXPORTER` lists. */
export function readExporters({ env }: OtlpSource, signal: OtlpSignal): readonly string[] {
  return splitList(readVariable(env, `OTEL_${signal}_EXPORTER`));
}

/** Warns of each exporter that this program does not have. */
export function warnOfOtherExporters({ warnings }: OtlpSource, signal: OtlpSignal, exporters: readonly string[]): void {
  for (const exporter of exporters) {
    if (exporter !== "otlp")
      warnings.push(`OTEL_${signal}_EXPORTER: ${quote(exporter)} is ignored: expected otlp or none`);
  }
}
