import type { HoldConfig, WakeConfig } from "../proxy/hold/hold-config.ts";
import type { FlagReader } from "./flag-reader.ts";

/** Paths of `--wake-ignore-paths` at most, so that each request is compared with few. */
const IGNORED_PATHS_MAX = 100;

/** `--hold-…` and `--wake-…`. */
export function readHold(reader: FlagReader, warnings: string[]): HoldConfig {
  const wake = readWake(reader);
  if (wake.enabled && reader.optionalText("manifests") !== undefined) {
    warnings.push("--wake-enabled has no effect: nothing wakes a sandbox of --manifests");
  }
  return Object.freeze({
    holdMs: reader.duration("hold-until-ready"),
    holdMax: reader.int("hold-max"),
    holdReleaseRate: reader.int("hold-release-rate"),
    wake: Object.freeze(wake),
  });
}

function readWake(reader: FlagReader): WakeConfig {
  return {
    enabled: reader.bool("wake-enabled"),
    parkBudgetMs: reader.duration("wake-park-budget"),
    parkMax: reader.int("wake-park-max"),
    scope: reader.choice("wake-scope"),
    wakeMax: reader.int("wake-max"),
    ignoredPaths: reader.parse("wake-ignore-paths", parsePaths),
  };
}

function parsePaths(text: string): ReadonlySet<string> {
  const paths = text
    .split(",")
    .map((path) => path.trim())
    .filter((path) => path !== "");
  if (paths.length > IGNORED_PATHS_MAX) throw new Error(`expected at most ${IGNORED_PATHS_MAX} paths`);
  if (!paths.every((path) => path.startsWith("/")))
    throw new Error("expected paths that begin with /, separated by commas");
  return new Set(paths);
}
