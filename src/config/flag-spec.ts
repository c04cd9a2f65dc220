import { DURATION_MAX_MS } from "../duration.ts";

/** The type of a flag's value. It decides how the value is parsed and how help describes it. */
export type FlagType = "string" | "bool" | "int" | "duration" | "size" | "choice";

/** The groups of `--help`, in order. */
export const FLAG_GROUPS = [
  "Sandboxes",
  "Traffic",
  "Limits and times",
  "Stopping",
  "Secure access",
  "Waiting and waking",
  "Renew intents",
  "Activity",
  "Operation",
  "Other",
] as const;
export type FlagGroup = (typeof FLAG_GROUPS)[number];

/** One row of the table of flags. Parsing, `--help` and docs/flags.md use it. */
export interface FlagSpec {
  /** Without hyphens. */
  readonly name: string;
  readonly type: FlagType;
  /** As written on the command line. Empty: not set. Booleans: `false`. */
  readonly default: string;
  /** The default in help and docs/flags.md, if it depends on the machine. Missing: `default` itself. */
  readonly defaultText?: string;
  readonly group: FlagGroup;
  /** One sentence without its full stop. */
  readonly help: string;
  /** Placeholder for the value in help; missing for booleans. */
  readonly valueName?: string;
  /** Type `choice`: the allowed values. */
  readonly choices?: readonly string[];
  /** Type `choice`: what other values are told, where there is more to say. */
  readonly refused?: Readonly<Record<string, string>>;
  /** Types `int` (a number), `duration` (milliseconds), `size` (bytes): the least and greatest allowed value. */
  readonly min?: number;
  readonly max?: number;
  /** The value is a secret or contains one. No fault, warning or log line repeats it. */
  readonly secret?: true;
}

/** Largest count of requests: more than a machine can hold, and still an exact number. */
export const COUNT_MAX = 1_000_000_000;
export const COUNT = { type: "int", valueName: "count", min: 0, max: COUNT_MAX } as const;
export const DURATION = { type: "duration", valueName: "duration", max: DURATION_MAX_MS } as const;
