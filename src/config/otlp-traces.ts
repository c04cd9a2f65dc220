import { quote } from "../log/quote.ts";
import type { SamplerConfig, TracesConfig } from "../traces/traces-config.ts";
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

/** Where OpenTelemetry looks for a collector if nothing is set. */
const DEFAULT_URL = "http://localhost:4318/v1/traces";
/** 1 %: the ingress is in front of everything, and one span of a hundred shows what is slow. */
const RATIO_DEFAULT = 0.01;
const SAMPLER_DEFAULT = "parentbased_traceidratio";

/** The samplers of the OpenTelemetry specification that need no server; `arg`: OTEL_TRACES_SAMPLER_ARG is the ratio. */
const SAMPLERS: Readonly<Record<string, { readonly ratio: number | "arg"; readonly isParentBased: boolean }>> = {
  always_on: { ratio: 1, isParentBased: false },
  always_off: { ratio: 0, isParentBased: false },
  traceidratio: { ratio: "arg", isParentBased: false },
  parentbased_always_on: { ratio: 1, isParentBased: true },
  parentbased_always_off: { ratio: 0, isParentBased: true },
  [SAMPLER_DEFAULT]: { ratio: "arg", isParentBased: true },
};

/**
 * Where traces are pushed and how many; undefined: they are off, which is the default. An invalid setting adds a
 * warning and is ignored, as OpenTelemetry has it; an invalid endpoint turns traces off.
 *
 * @param hostInfo The text of `HOST_INFO_PATH`; empty: there is none.
 */
export function readTraces(env: Environment, warnings: string[], hostInfo = ""): TracesConfig | undefined {
  const source: OtlpSource = { env, warnings, hostInfo };
  if (isSdkDisabled(env)) return undefined;
  const exporters = readExporters(source, "TRACES");
  if (exporters.includes("none")) return undefined;
  warnOfOtherExporters(source, "TRACES", exporters);
  if (!exporters.includes("otlp")) return undefined;
  const endpoint = readEndpoint(source, "TRACES");
  const url = endpoint === undefined ? DEFAULT_URL : endpoint.url;
  if (url === undefined) return undefined;
  checkProtocol(source, "TRACES");
  return Object.freeze({
    url,
    headers: readHeaders(source, "TRACES"),
    timeoutMs: readTimeout(source, "TRACES"),
    sampler: Object.freeze(readSampler(env, warnings)),
  });
}

function readSampler(env: Environment, warnings: string[]): SamplerConfig {
  const text = readVariable(env, "OTEL_TRACES_SAMPLER");
  const name = text === "" ? SAMPLER_DEFAULT : text.toLowerCase();
  const known = Object.hasOwn(SAMPLERS, name) ? SAMPLERS[name] : undefined;
  if (known === undefined) {
    const names = Object.keys(SAMPLERS).join(", ");
    warnings.push(`OTEL_TRACES_SAMPLER: ${quote(text)} is ignored: expected one of ${names}`);
    return { ratio: RATIO_DEFAULT, isParentBased: true };
  }
  const { ratio, isParentBased } = known;
  return { ratio: ratio === "arg" ? readRatio(env, warnings) : ratio, isParentBased };
}

function readRatio(env: Environment, warnings: string[]): number {
  const name = "OTEL_TRACES_SAMPLER_ARG";
  const text = readVariable(env, name);
  if (text === "") return RATIO_DEFAULT;
  const ratio = /^(?:\d{1,20}(?:\.\d{0,20})?|\.\d{1,20})(?:e-?\d{1,3})?$/i.test(text) ? Number(text) : Number.NaN;
  if (ratio >= 0 && ratio <= 1) return ratio;
  warnings.push(`${name}: ${quote(text)} is ignored: expected a number between 0 and 1, such as ${RATIO_DEFAULT}`);
  return RATIO_DEFAULT;
}
