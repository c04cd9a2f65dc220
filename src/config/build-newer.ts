import type { NetworkReadinessConfig } from "../proxy/upstream/network-readiness.ts";
import type { FlagReader } from "./flag-reader.ts";
import { IGNORED_FLAGS } from "./newer-flags.ts";

/** Flags of newer versions of the Go ingress that are refused or change nothing. */
export function checkNewerFlags(reader: FlagReader, warnings: string[]): void {
  for (const [name, reason] of IGNORED_FLAGS) {
    if (reader.isGiven(name)) warnings.push(`--${name} is ignored because ${reason}`);
  }
  if (reader.bool("audit-enabled")) {
    reader.faults.push("--audit-enabled: this ingress sends no audit events; remove the flag, or use the Go ingress");
  }
}

/** Undefined if a value is invalid, as in the Go ingress: the page is then missing, and nothing else. */
export function readNetworkReadiness(reader: FlagReader, warnings: string[]): NetworkReadinessConfig | undefined {
  const config: NetworkReadinessConfig = {
    windowMs: reader.duration("network-readiness-shadow-window"),
    maxTargets: reader.int("network-readiness-max-targets"),
    minAttempts: reader.int("network-readiness-min-attempts"),
    minTargets: reader.int("network-readiness-min-targets"),
    minSignalTargets: reader.int("network-readiness-min-signal-targets"),
    failureRatio: reader.parse("network-readiness-failure-ratio", parseDecimal),
  };
  const { maxTargets, minTargets, minSignalTargets, failureRatio } = config;
  const areCounts = Object.values(config).every((value) => value > 0);
  if (areCounts && failureRatio <= 1 && minTargets <= maxTargets && minSignalTargets <= maxTargets) return config;
  warnings.push("--network-readiness-…: the values do not fit, so /status.ok/network-readiness answers 404");
  return undefined;
}

function parseDecimal(text: string): number {
  if (!/^[+-]?\d{1,15}(?:\.\d{1,15})?$/.test(text)) throw new Error("expected a number such as 0.2");
  return Number(text);
}
