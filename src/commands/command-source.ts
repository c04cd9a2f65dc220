import { parseAdminToken } from "../access/admin-token.ts";
import type { Config } from "../config/parse-config.ts";
import { parseConfig } from "../config/parse-config.ts";
import { splitFlag } from "../config/arguments.ts";
import type { LogFields, Logger } from "../log/logger.ts";
import { silentLogger } from "../log/logger.ts";
import { printable } from "../log/printable.ts";
import type { SourceSeams } from "../source.ts";
import { collectFault, type CommandSeams } from "./command-line.ts";

/** Where an ingress on this machine has its admin port by default. */
export const DEFAULT_ADMIN = "http://127.0.0.1:28889";

/** Faults of sandboxes that are told beside the answer; the rest is counted. */
const NOTES_MAX = 20;

/** What a sub-command that looks at sandboxes needs of the world. */
export interface LookSeams extends CommandSeams, SourceSeams {}

/** Where a sub-command gets its answer from. */
export type CommandSource =
  | { readonly kind: "ask"; readonly admin: URL; readonly token: string | undefined }
  | { readonly kind: "look"; readonly config: Config };

/** A sub-command's own flags, taken out of its arguments. What they mean is checked later. */
export interface TakenFlags {
  /** The values of each flag, in order. */
  readonly values: ReadonlyMap<string, readonly string[]>;
  /** What is left: for the flags of the ingress. */
  readonly rest: readonly string[];
  readonly faults: readonly string[];
}

/**
 * Takes flags out of arguments, by the rules of `readCommandArguments`; those in `switches` have no value. Everything else
 * stays as it is.
 */
export function takeFlags(
  args: readonly string[],
  own: { readonly valued: readonly string[]; readonly switches: readonly string[] },
): TakenFlags {
  const values = new Map<string, string[]>();
  const rest: string[] = [];
  const faults: string[] = [];
  for (let at = 0; at < args.length; at++) {
    const arg = args[at] ?? "";
    const { name, value } = arg.startsWith("-") ? splitFlag(arg) : { name: "", value: undefined };
    if (own.switches.includes(name) && value === undefined) {
      values.set(name, ["true"]);
    } else if (own.valued.includes(name)) {
      const text = value ?? args[++at];
      if (text === undefined) faults.push(`--${name}: a value is missing`);
      else values.set(name, [...(values.get(name) ?? []), text]);
    } else {
      rest.push(arg);
    }
  }
  return { values, rest, faults };
}

/** Flags that only a running ingress is asked with. */
export const ASK_FLAGS = ["admin", "admin-token-file"] as const;

/** What the usage of each such command says of where it looks. */
export const SOURCE_USAGE = `  --admin             the admin port of a running ingress (default ${DEFAULT_ADMIN})
  --admin-token-file  the file with its token, where it is on another machine

Without a running ingress it looks itself, with the flags of an ingress: --manifests=<path>, or --kubeconfig=<file> or
--namespace=<names>, and as needed --mode, --provider-type, --secure-access-keys-file and so on. See ingress --help.
`;

/** Finds out where the answer comes from; undefined after the complaint has gone to `faults`. */
export function chooseSource(taken: TakenFlags, faults: string[], seams: LookSeams): CommandSource | undefined {
  const { values, rest } = taken;
  const admin = values.get("admin")?.at(-1);
  const tokenFile = values.get("admin-token-file")?.at(-1);
  if (admin !== undefined && rest.length > 0) {
    faults.push("a running ingress has its own flags: give either --admin or those");
    return undefined;
  }
  if (rest.length === 0) {
    const url = collectFault(faults, "--admin", () => parseAdminUrl(admin ?? DEFAULT_ADMIN));
    const token = collectFault(faults, "--admin-token-file", () =>
      tokenFile === undefined ? undefined : parseAdminToken(seams.readFile(tokenFile)),
    );
    return url === undefined ? undefined : { kind: "ask", admin: url, token };
  }
  const names = rest.map((arg) => splitFlag(arg).name);
  const isScoped = ["manifests", "namespace", "all-namespaces"].some((name) => names.includes(name));
  const parsed = parseConfig([...(isScoped ? [] : ["--all-namespaces"]), ...rest], seams.environment);
  if (parsed.kind === "run") return { kind: "look", config: parsed.config };
  if (parsed.kind === "faults") faults.push(...parsed.faults);
  else faults.push("these arguments are those of no ingress");
  return undefined;
}

/** Parses `--admin`. Throws an Error that does not repeat it: it may have a password. */
export function parseAdminUrl(text: string): URL {
  const url = URL.parse(text);
  if (url === null || !["http:", "https:"].includes(url.protocol) || url.username !== "" || url.password !== "") {
    throw new Error(`expected a URL such as ${DEFAULT_ADMIN}`);
  }
  return url;
}

/** A logger that keeps what an operator should know beside the answer. */
export function createNotes(name: string): { readonly logger: Logger; format(): string } {
  const notes: string[] = [];
  let more = 0;
  const note = (message: string, fields: LogFields = {}): void => {
    if (notes.length >= NOTES_MAX) {
      more += 1;
      return;
    }
    const told = Object.entries(fields).filter(([, value]) => value !== undefined);
    notes.push(printable([message, ...told.map(([key, value]) => `${key}=${value}`)].join(" ")));
  };
  return {
    logger: { ...silentLogger, warn: note, error: note },
    format: () =>
      [...notes, ...(more === 0 ? [] : [`${more} more are not shown`])]
        .map((text) => `ingress ${name}: note: ${text}\n`)
        .join(""),
  };
}
