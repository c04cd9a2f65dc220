import { type AccessKeys, parseAccessKeys } from "../access/keys.ts";
import { splitFlag } from "../config/arguments.ts";
import { faultTextOf } from "../config/text.ts";

/** Output and exit code of a sub-command: 0 done, 1 refused or failed, 2 invalid command line. */
export interface CommandResult {
  readonly stdout: string;
  readonly stderr: string;
  readonly exitCode: 0 | 1 | 2;
}

/** What a sub-command needs from the world. */
export interface CommandSeams {
  /** Reads a small text file. Throws an Error that says why it cannot. */
  readonly readFile: (path: string) => string;
  /** Wall-clock milliseconds. */
  readonly nowMs: number;
}

/** A sub-command's arguments, split but not yet checked. */
export interface CommandArguments<Name extends string> {
  readonly flags: ReadonlyMap<Name, string>;
  readonly positionals: readonly string[];
  readonly faults: readonly string[];
  readonly wantsHelp: boolean;
}

/**
 * Splits a sub-command's arguments by the rules of Go's package `flag`: `-x` and `--x` are the same, values are given
 * as `-x=v` or `-x v`, the last occurrence wins. Every flag has a value. Unlike in Go, flags may stand before and after
 * other arguments. Faults repeat neither values nor misspelt flags, which may contain a secret.
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
      faults.push(`unknown flag; expected one of ${names.map((each) => `--${each}`).join(", ")}`);
    } else {
      const value = split.value ?? args[++at];
      if (value === undefined) faults.push(`--${name}: a value is missing`);
      else flags.set(name, value);
    }
  }
  return { flags, positionals, faults, wantsHelp };
}

/** The value that `parse` makes of a text. If `parse` throws, adds its message to `faults` and returns undefined. */
export function collectFault<T>(faults: string[], flag: string, parse: () => T): T | undefined {
  try {
    return parse();
  } catch (thrown) {
    faults.push(`${flag}: ${faultTextOf(thrown)}`);
    return undefined;
  }
}

/** The result for an invalid command line. */
export function usageResult(name: string, usage: string, faults: readonly string[]): CommandResult {
  return {
    stdout: "",
    stderr: `${faults.map((fault) => `ingress ${name}: ${fault}\n`).join("")}\n${usage}`,
    exitCode: 2,
  };
}

/** Rows of label and value. The values are aligned. */
export function formatRows(rows: readonly (readonly [label: string, value: string])[]): string {
  const width = Math.max(...rows.map(([label]) => label.length));
  return rows.map(([label, value]) => `${label.padEnd(width)}  ${value}\n`).join("");
}

/**
 * Parses `--key`: `<id>=@<file>` with the base64 in the file, or the format of `parseAccessKeys`. Throws an Error that
 * contains no part of the secret.
 */
export function parseKeyFlag(text: string, readFile: CommandSeams["readFile"]): AccessKeys {
  const [, id, path] = /^([0-9a-z])=@(.*)$/s.exec(text) ?? [];
  return parseAccessKeys(path === undefined ? text : `${id}=${readFile(path).trim()}`);
}

/** Whether the help is asked for, in whatever spelling and place. */
export function asksForHelp(args: readonly string[]): boolean {
  return args.some((arg) => /^--?(?:h|help)$/.test(arg));
}
