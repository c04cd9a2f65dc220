import { parseDurationMs } from "../../duration.ts";
import {
  HOLD_TIME_MAX_MS,
  HOST_HEADER_MODES,
  ORIGIN_HEADER_MODES,
  type SandboxPolicy,
  URI_PREFIX_MODES,
} from "../policy.ts";
import { type AnnotationReader, readTraffic, TRAFFIC_ANNOTATIONS } from "./traffic-annotations.ts";

/** Prefix of all annotations for the ingress. */
export const POLICY_PREFIX = "ingress.opensandbox.io/";

/** Maximum number of faults that one warning names, so that the log line stays short. */
const NAMED_FAULTS_MAX = 4;
/** Characters of an unknown name that are shown: a Kubernetes name has at most 63 after its prefix. */
const NAME_SHOWN_MAX_CHARS = 63;

/** What the annotations of a sandbox set, and what is wrong with them. */
export interface PolicyReading {
  /** Undefined if nothing is set, so that most records carry no object. */
  readonly policy: SandboxPolicy | undefined;
  /** For the log; undefined if nothing is wrong. */
  readonly warning: string | undefined;
}

/** Reads one annotation. Returns the fields to set, and what is wrong if the value is invalid. */
type ReadAnnotation = (value: unknown) => { readonly policy?: SandboxPolicy; readonly expected?: string };

/** All annotations, by their name after `POLICY_PREFIX`. */
const READERS: ReadonlyMap<string, ReadAnnotation> = new Map<string, ReadAnnotation>([
  ["host-header", choice(HOST_HEADER_MODES, (hostHeader) => ({ hostHeader }))],
  ["origin-header", choice(ORIGIN_HEADER_MODES, (originHeader) => ({ originHeader }))],
  ["uri-prefix", choice(URI_PREFIX_MODES, (uriPrefix) => ({ uriPrefix }))],
  ["hold-until-ready", readHoldTime],
  ["wake-on-access", choice(["true", "false"], (word) => ({ wakesOnAccess: word === "true" }))],
  ...TRAFFIC_ANNOTATIONS.map(([name, reader]) => [name, traffic(reader)] as const),
]);

const NOTHING: PolicyReading = Object.freeze({ policy: undefined, warning: undefined });

/**
 * Reads the annotations that begin with `POLICY_PREFIX`. An invalid value leaves the default, but one that says who may
 * come allows nobody. The warning names invalid values and unknown names. Never throws, for any values.
 */
export function readPolicy(annotations: Readonly<Record<string, unknown>>): PolicyReading {
  let policy: SandboxPolicy | undefined;
  let faults: string[] | undefined;
  for (const key in annotations) {
    if (!key.startsWith(POLICY_PREFIX)) continue;
    const name = key.slice(POLICY_PREFIX.length);
    const result = READERS.get(name)?.(annotations[key]);
    if (result?.policy !== undefined) policy = { ...policy, ...result.policy };
    if (result !== undefined && result.expected === undefined) continue;
    faults ??= [];
    // What nobody can use stands first, since few faults are named.
    if (result?.policy === undefined) faults.push(describeFault(name, result?.expected));
    else faults.unshift(`invalid annotation ${POLICY_PREFIX}${name}, allowing nothing: expected ${result.expected}`);
  }
  if (faults === undefined) return policy === undefined ? NOTHING : { policy, warning: undefined };
  const fault = joinFaults(faults);
  return { policy: { ...policy, fault }, warning: fault };
}

function describeFault(name: string, expected: string | undefined): string {
  if (expected === undefined) {
    return `unknown annotation ${POLICY_PREFIX}${JSON.stringify(name.slice(0, NAME_SHOWN_MAX_CHARS)).slice(1, -1)}`;
  }
  return `invalid annotation ${POLICY_PREFIX}${name}, using the default: expected ${expected}`;
}

function joinFaults(faults: readonly string[]): string {
  const named = faults.slice(0, NAMED_FAULTS_MAX).join("; ");
  return faults.length > NAMED_FAULTS_MAX ? `${named}; and ${faults.length - NAMED_FAULTS_MAX} more` : named;
}

/** An annotation whose value must be one of a few words. */
function choice<T extends string>(words: readonly T[], toPolicy: (word: T) => SandboxPolicy): ReadAnnotation {
  const expected = words.join(" or ");
  return (value) => {
    const word = words.find((known) => known === value);
    return word === undefined ? { expected } : { policy: toPolicy(word) };
  };
}

/** An annotation that limits the traffic. */
function traffic(reader: AnnotationReader): ReadAnnotation {
  const { closed, expected } = reader;
  const invalid = closed === undefined ? { expected } : { expected, policy: closed };
  return (value) => {
    const policy = readTraffic(reader, value);
    return policy === undefined ? invalid : { policy };
  };
}

const HOLD_TIME_EXPECTED = "a duration of at most 10m, such as 30s";
/** Longer texts are not read. The longest duration that Go writes has 32 characters. */
const HOLD_TIME_MAX_CHARS = 32;

function readHoldTime(value: unknown): ReturnType<ReadAnnotation> {
  const invalid = { expected: HOLD_TIME_EXPECTED };
  if (typeof value !== "string" || value.length > HOLD_TIME_MAX_CHARS) return invalid;
  try {
    return { policy: { holdMs: parseDurationMs(value, { maxMs: HOLD_TIME_MAX_MS }) } };
  } catch {
    return invalid;
  }
}
