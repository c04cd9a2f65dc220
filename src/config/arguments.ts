import { FLAGS, type FlagName, type FlagSpec } from "./flags.ts";
import { quote } from "../log/quote.ts";

/** One use of a flag. The value is still text; a boolean without a value has `true`, as in Go. */
export interface FlagUse {
  readonly name: FlagName;
  readonly value: string;
}

/** The flags on a command line, and all of its syntax faults. */
export interface CommandLine {
  /** In the order of the command line. */
  readonly uses: readonly FlagUse[];
  readonly faults: readonly string[];
}

/**
 * A fault repeats an unexpected argument only if it looks as harmless as this: the argument may be a part of a secret.
 */
const HARMLESS_ARGUMENT = /^[a-z0-9._-]{1,24}$/i;

/**
 * Splits a command line by the rules of Go's package `flag` (docs/contract.md §6): `-x` and `--x` are the same, values
 * are given as `-x=v` or `-x v`, those of booleans only as `-x=v`, and `--` ends the flags. Go stops at the first fault
 * and at the first argument that is not a flag. This function continues, to report all faults at once.
 */
export function splitCommandLine(argv: readonly string[]): CommandLine {
  const uses: FlagUse[] = [];
  const faults: string[] = [];
  let previous: FlagSpec | undefined;
  for (let at = 0; at < argv.length; at += 1) {
    const argument = argv[at] ?? "";
    if (argument === "--") {
      for (const stray of argv.slice(at + 1)) faults.push(describeStray(stray, undefined));
      break;
    }
    if (!argument.startsWith("-") || argument === "-") {
      faults.push(describeStray(argument, previous));
      continue;
    }
    const { name, value } = splitFlag(argument);
    // In Go, a name cannot begin with `-` or `=`.
    if (name === "" || name.startsWith("-")) {
      faults.push("invalid flag: write -name or --name");
      continue;
    }
    const spec = findFlag(name);
    const next = argv[at + 1];
    if (spec === undefined) {
      faults.push(`flag provided but not defined: ${quote(name).slice(1, -1)}`);
      // The value of an unknown flag is not another fault. It is never shown, because the flag may be a misspelt
      // secret.
      if (value === undefined && next !== undefined && !next.startsWith("-")) at += 1;
    } else if (value !== undefined || spec.type === "bool") {
      uses.push({ name: spec.name, value: value ?? "true" });
    } else if (next === undefined) {
      faults.push(`--${name}: a value is missing`);
    } else {
      uses.push({ name: spec.name, value: next });
      at += 1;
    }
    previous = spec;
  }
  return { uses, faults };
}

/** Splits `--name=value` or `-name=value`. `value` is undefined if there is no `=`. */
export function splitFlag(argument: string): { readonly name: string; readonly value: string | undefined } {
  const start = argument.startsWith("--") ? 2 : 1;
  const equals = argument.indexOf("=", start);
  if (equals < 0) return { name: argument.slice(start), value: undefined };
  return { name: argument.slice(start, equals), value: argument.slice(equals + 1) };
}

/** `-h` is Go's short form of `--help`. */
function findFlag(name: string): (typeof FLAGS)[number] | undefined {
  return FLAGS.find((flag) => flag.name === (name === "h" ? "help" : name));
}

function describeStray(argument: string, after: FlagSpec | undefined): string {
  const what = after?.secret !== true && HARMLESS_ARGUMENT.test(argument) ? ` ${quote(argument)}` : "";
  const where = after === undefined ? "" : ` after --${after.name}`;
  const hint = after?.type === "bool" ? ` (write --${after.name}=false for a boolean's value)` : "";
  return `unexpected argument${what}${where}${hint}`;
}
