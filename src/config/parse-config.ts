import { cac } from "cac";

import { splitCommandLine, type FlagUse } from "./arguments.ts";
import { buildConfig } from "./build.ts";
import type { Config } from "./config.ts";
import { FlagReader } from "./flag-reader.ts";
import { FLAGS, type FlagName } from "./flags.ts";
import { formatHelp, formatUsage } from "./help.ts";
import type { Environment } from "./otlp-variables.ts";

export { readClusterDomain } from "./cluster-domain.ts";
export type { Config } from "./config.ts";
export { HOST_INFO_PATH } from "./otlp-variables.ts";
export { FLAGS, type FlagSpec } from "./flags.ts";
export { type MemoryPlan, resolveMemoryPlan } from "./memory-plan.ts";

/** The first words that run a tool for operators instead of the ingress. */
export type CommandName = "sign" | "verify" | "explain" | "sandboxes" | "ready" | "doctor";

const COMMAND_NAMES: readonly CommandName[] = ["sign", "verify", "explain", "sandboxes", "ready", "doctor"];

/** The result of reading a command line. */
export type ParsedConfig =
  | { readonly kind: "run"; readonly config: Config }
  /** For standard output, with exit code 0. */
  | { readonly kind: "help"; readonly text: string }
  | { readonly kind: "version" }
  /** A sub-command, which reads its own arguments. */
  | { readonly kind: "command"; readonly name: CommandName; readonly args: readonly string[] }
  /** Each fault is one line. For standard error, with the usage below, and exit code 2. */
  | { readonly kind: "faults"; readonly faults: readonly string[]; readonly usage: string };

/**
 * Reads the command line (without the program's name) and the environment. Pure; never throws; finds all faults at
 * once. `--help` wins over faults, then `--version`. No fault repeats a secret.
 *
 * @param options `hostInfo`: the text of `HOST_INFO_PATH`; default: empty.
 */
export function parseConfig(
  argv: readonly string[],
  env: Environment,
  { hostInfo = "" }: { readonly hostInfo?: string } = {},
): ParsedConfig {
  const [first] = argv;
  const command = COMMAND_NAMES.find((name) => name === first);
  if (command !== undefined) return { kind: "command", name: command, args: argv.slice(1) };
  const { uses, faults } = splitCommandLine(argv);
  const reader = new FlagReader(lastTexts(uses));
  const wantsHelp = reader.bool("help");
  const wantsVersion = reader.bool("version");
  if (wantsHelp) return { kind: "help", text: formatHelp() };
  if (wantsVersion) return { kind: "version" };
  const config = buildConfig(reader, env, hostInfo);
  const all = [...faults, ...reader.faults];
  return all.length === 0 ? { kind: "run", config } : { kind: "faults", faults: all, usage: formatUsage() };
}

/** Stands before each value, so that cac does not take it for a number, a boolean or missing. */
const TEXT_MARK = ":";

/**
 * Flag → the text of its last use. cac only sees flags that `splitCommandLine` has already split and checked, because
 * charts rely on the rules of Go's package `flag`, which cac's own splitting does not follow: `-name`, values such as
 * `-1` and `010`, all faults at once.
 */
function lastTexts(uses: readonly FlagUse[]): ReadonlyMap<FlagName, string> {
  const cli = cac("ingress");
  for (const flag of FLAGS) cli.option(`--${flag.name} <value>`, flag.help);
  const argv = uses.map(({ name, value }) => `--${name}=${TEXT_MARK}${value}`);
  const options: Readonly<Record<string, unknown>> = cli.parse(["", "", ...argv], { run: false }).options;
  const texts = new Map<FlagName, string>();
  for (const [index, { name: key }] of cli.globalCommand.options.entries()) {
    const last: unknown = [options[key]].flat().at(-1);
    const flag = FLAGS[index];
    if (flag !== undefined && typeof last === "string") texts.set(flag.name, last.slice(TEXT_MARK.length));
  }
  return texts;
}
