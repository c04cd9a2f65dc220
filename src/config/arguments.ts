import { FLAGS, type FlagName, type FlagSpec } from "./flags.ts";
import { quote } from "./text.ts";

/** One use of a flag, its value still text: a boolean without a value reads `true`, as in Go. */
export interface FlagUse {
  readonly name: FlagName;
  readonly value: string;
}

/** What a command line says, and every fault of its syntax. */
export interface ReadArguments {
  /** In the order of the command line. */
  readonly uses: readonly FlagUse[];
  readonly faults: readonly string[];
}

/** A stray argument is repeated in a fault only when it looks as harmless as this: it may be a lost part of a secret. */
const HARMLESS_ARGUMENT = /^[a-z0-9._-]{1,24}$/i;

/**
 * Splits a command line by the rules of Go's package `flag` (docs/contract.md §6): `-x` and `--x` are the same, values
 * come as
 * `-x=v` or `-x v`, those of booleans as `-x=v` only, and `--` ends the flags. Where Go stops at the first fault or at
 * the first argument that is no flag, this reads on, so that all faults are known at once.
 */
export function readArguments(argv: readonly string[]): ReadArguments {
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
    // Go: `-`, `=` cannot begin a name.
    if (name === "" || name.startsWith("-")) {
      faults.push("bad flag syntax: a flag is written -name or --name");
      continue;
    }
    const spec = findFlag(name);
    const next = argv[at + 1];
    if (spec === undefined) {
      faults.push(`flag provided but not defined: ${quote(name).slice(1, -1)}`);
      // The value of a flag that does not exist is no fault of its own, and never shown: the flag may be a misspelt secret.
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

/** `--name=value` or `-name=value` in two; `value` is undefined where there is no `=`. */
export function splitFlag(argument: string): { readonly name: string; readonly value: string | undefined } {
  const start = argument.startsWith("--") ? 2 : 1;
  const equals = argument.indexOf("=", start);
  if (equals < 0) return { name: argument.slice(start), value: undefined };
  return { name: argument.slice(start, equals), value: argument.slice(equals + 1) };
}

/** `-h` is Go's other name for `--help`. */
function findFlag(name: string): (typeof FLAGS)[number] | undefined {
  return FLAGS.find((flag) => flag.name === (name === "h" ? "help" : name));
}

function describeStray(argument: string, after: FlagSpec | undefined): string {
  const what = after?.secret !== true && HARMLESS_ARGUMENT.test(argument) ? ` ${quote(argument)}` : "";
  const where = after === undefined ? "" : ` after --${after.name}`;
  const hint = after?.type === "bool" ? ` (a boolean's value is written --${after.name}=false)` : "";
  return `unexpected argument${what}${where}${hint}`;
}
