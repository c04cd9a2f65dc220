import { type AccessKeys, parseAccessKeys } from "../access/keys.ts";
import { splitFlag } from "../config/arguments.ts";
import { messageOf } from "../config/text.ts";

/** What a sub-command says and how it ends: 0 done, 1 refused or failed, 2 the command line is wrong. */
export interface CommandResult {
  readonly stdout: string;
  readonly stderr: string;
  readonly exitCode: 0 | 1 | 2;
}

/** What a sub-command needs of the world. */
export interface CommandSeams {
  /** Reads a small text file; throws an Error that says why not. */
  readonly readFile: (path: string) => string;
  /** Wall-clock milliseconds. */
  readonly nowMs: number;
}

/** A sub-command's arguments, split; what they mean is checked later. */
export interface CommandArguments<Name extends string> {
  readonly flags: ReadonlyMap<Name, string>;
  readonly positionals: readonly string[];
  readonly faults: readonly string[];
  readonly wantsHelp: boolean;
}

/**
 * Splits a sub-command's arguments by the rules of Go's package `flag`: `-x` and `--x` are the same, values come as
 * `-x=v` or `-x v`, the last occurrence wins. Every flag has a value. Flags may stand before and after other arguments.
 * Faults repeat neither a value nor a misspelt flag's.
 */
export function readCommandArguments<Name extends string>(
  args: readonly string[],
  names: readonly Name[],
): CommandArguments<Name> {
  const flags = new Map<Name, string>();
  const positionals: string[] = [];
  const faults: string[] = [];
  let wantsHelp = false;
  for (let at = 0; at < args.length; at++) {
    const arg = args[at] ?? "";
    if (arg === "--") {
      positionals.push(...args.slice(at + 1));
      break;
    }
    if (!arg.startsWith("-") || arg === "-") {
      positionals.push(arg);
      continue;
    }
    const split = splitFlag(arg);
    const name = names.find((each) => each === split.name);
    if (split.name === "h" || split.name === "help") {
      wantsHelp = true;
    } else if (name === undefined) {
      faults.push(`there is no such flag; the flags are ${names.map((each) => `--${each}`).join(", ")}`);
    } else {
      const value = split.value ?? args[++at];
      if (value === undefined) faults.push(`--${name}: a value is missing`);
      else flags.set(name, value);
    }
  }
  return { flags, positionals, faults, wantsHelp };
}

/** The value that `parse` makes of a text, or undefined after its complaint has gone to `faults`. */
export function collectFault<T>(faults: string[], flag: string, parse: () => T): T | undefined {
  try {
    return parse();
  } catch (thrown) {
    faults.push(`${flag}: ${messageOf(thrown)}`);
    return undefined;
  }
}

/** Ends a sub-command whose command line is wrong. */
export function usageResult(name: string, usage: string, faults: readonly string[]): CommandResult {
  return {
    stdout: "",
    stderr: `${faults.map((fault) => `ingress ${name}: ${fault}\n`).join("")}\n${usage}`,
    exitCode: 2,
  };
}

/** Rows of label and value, the values below each other. */
export function formatRows(rows: readonly (readonly [label: string, value: string])[]): string {
  const width = Math.max(...rows.map(([label]) => label.length));
  return rows.map(([label, value]) => `${label.padEnd(width)}  ${value}\n`).join("");
}

/**
 * Parses `--key`: `<id>=@<file>`, the file holding the base64, or what `parseAccessKeys` takes. Throws an Error that
 * carries nothing of the secret.
 */
export function parseKeyFlag(text: string, readFile: CommandSeams["readFile"]): AccessKeys {
  const [, id, path] = /^([0-9a-z])=@(.*)$/s.exec(text) ?? [];
  return parseAccessKeys(path === undefined ? text : `${id}=${readFile(path).trim()}`);
}
