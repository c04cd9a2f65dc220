import { AddressRanges } from "../../address.ts";
import { DURATION_MAX_MS, parseDurationMs } from "../../duration.ts";
import { createOriginSet, parseOrigins } from "../../origin.ts";
import { parseRate, parseSizeBytes } from "../../quantity.ts";
import { parsePort, trimBlanks } from "../../values.ts";
import { type AllowList, NOTHING_ALLOWED, type SandboxPolicy } from "../policy.ts";

/**
 * Characters of a list. It is read at every change of its sandbox, and whoever may create sandboxes may make it as long
 * as Kubernetes allows (256 KiB), for thousands of them.
 */
const LIST_MAX_CHARS = 4_096;
/** Items of a list. Requests are compared with one after the other. */
const LIST_MAX_ITEMS = 64;
/** Characters of a number with its unit: the longest duration that Go writes has 32. */
const VALUE_MAX_CHARS = 32;
/** Greatest `max-requests`: the greatest value of the flag. */
const REQUESTS_MAX = 1_000_000_000;

/** How one annotation is read. */
export interface AnnotationReader {
  /** Gives the fields to set, or undefined or throws if the value is invalid. */
  readonly read: (text: string) => SandboxPolicy | undefined;
  /** What the value must be, for the log. */
  readonly expected: string;
  /** What an invalid value sets; missing: nothing, so that the flag's value stays. */
  readonly closed?: SandboxPolicy;
}

/** The annotations that limit the traffic of a sandbox, by their name after `POLICY_PREFIX`. */
export const TRAFFIC_ANNOTATIONS: readonly (readonly [name: string, reader: AnnotationReader])[] = [
  [
    "allowed-ports",
    {
      read: (text) => wrap(readPorts(text), (allowedPorts) => ({ allowedPorts })),
      expected: `at most ${LIST_MAX_ITEMS} ports and ranges of ports, such as 3000,8000-8999`,
      closed: { allowedPorts: NOTHING_ALLOWED },
    },
  ],
  [
    "allowed-methods",
    {
      read: (text) => wrap(readMethods(text), (allowedMethods) => ({ allowedMethods })),
      expected: `at most ${LIST_MAX_ITEMS} methods in capitals, such as GET,POST`,
      closed: { allowedMethods: NOTHING_ALLOWED },
    },
  ],
  [
    "allowed-origins",
    {
      read: (text) => wrap(readOrigins(text), (allowedOrigins) => ({ allowedOrigins })),
      expected: `at most ${LIST_MAX_ITEMS} origins, such as https://app.example.com,https://*.example.com`,
      closed: { allowedOrigins: NOTHING_ALLOWED },
    },
  ],
  [
    "client-cidrs",
    {
      read: (text) => wrap(readRanges(text), (allowedClients) => ({ allowedClients })),
      expected: `at most ${LIST_MAX_ITEMS} addresses and CIDR ranges, such as 203.0.113.0/24,2001:db8::/32`,
      closed: { allowedClients: NOTHING_ALLOWED },
    },
  ],
  [
    "max-requests",
    {
      read: (text) => wrap(readCount(text), (maxRequests) => ({ maxRequests })),
      expected: `a whole number from 1 to ${REQUESTS_MAX}`,
    },
  ],
  ["rate", { read: (text) => ({ rate: parseRate(text) }), expected: "1 to 1000000 requests, such as 100/s or 20/m" }],
  [
    "max-body-size",
    {
      read: (text) => wrap(positive(parseSizeBytes(text)), (maxBodyBytes) => ({ maxBodyBytes })),
      expected: "a size of at least 1 byte, such as 10MiB",
    },
  ],
  [
    "response-timeout",
    {
      read: (text) => wrap(readDuration(text), (responseTimeoutMs) => ({ responseTimeoutMs })),
      expected: "a duration above 0, such as 30s",
    },
  ],
  [
    "stream-idle-timeout",
    {
      read: (text) => wrap(readDuration(text), (streamIdleTimeoutMs) => ({ streamIdleTimeoutMs })),
      expected: "a duration above 0, such as 5m",
    },
  ],
];

/** Reads a value of any type and size. Undefined: it is invalid. Never throws. */
export function readTraffic(reader: AnnotationReader, value: unknown): SandboxPolicy | undefined {
  if (typeof value !== "string" || value.length > (reader.closed === undefined ? VALUE_MAX_CHARS : LIST_MAX_CHARS)) {
    return undefined;
  }
  try {
    return reader.read(value);
  } catch {
    return undefined;
  }
}

function wrap<T>(value: T | undefined, toPolicy: (value: T) => SandboxPolicy): SandboxPolicy | undefined {
  return value === undefined ? undefined : toPolicy(value);
}

/** The items between commas, with blanks and line ends around them, as YAML folds long texts. Undefined: too many. */
function splitList(text: string): readonly string[] | undefined {
  const items = text.split(",");
  return items.length > LIST_MAX_ITEMS ? undefined : items.map((item) => trimBlanks(item));
}

function readPorts(text: string): AllowList<number> | undefined {
  const items = splitList(text) ?? [""];
  /** First and last port of each range. */
  const ends = new Uint16Array(2 * items.length);
  for (const [at, item] of items.entries()) {
    const [from = "", to = from, ...rest] = item.split("-");
    const [first, last] = [parsePort(from), parsePort(to)];
    if (first === undefined || last === undefined || first > last || rest.length > 0) return undefined;
    ends.set([first, last], 2 * at);
  }
  return {
    has(port) {
      for (let at = 0; at < ends.length; at += 2) {
        if ((ends[at] ?? 0) <= port && port <= (ends[at + 1] ?? 0)) return true;
      }
      return false;
    },
  };
}

/** Methods are case-sensitive (RFC 9110 §9.1), and all in use are in capitals. */
const METHOD = /^[A-Z][A-Z-]{0,31}$/;

function readMethods(text: string): AllowList<string> | undefined {
  const methods = new Set(splitList(text) ?? [""]);
  for (const method of methods) if (!METHOD.test(method)) return undefined;
  // What GET may read, HEAD may ask about (RFC 9110 §9.3.2).
  if (methods.has("GET")) methods.add("HEAD");
  return methods;
}

function readOrigins(text: string): AllowList<string> | undefined {
  const items = splitList(text);
  // Origins are ASCII in the end. What looks like another character must not become one on the way.
  if (items === undefined || !/^[!-~]+$/.test(items.join(","))) return undefined;
  return createOriginSet(parseOrigins(items.join(",")));
}

function readRanges(text: string): AllowList<string> | undefined {
  const items = splitList(text);
  if (items === undefined) return undefined;
  const ranges = new AddressRanges();
  for (const item of items) ranges.add(item);
  return ranges;
}

function readCount(text: string): number | undefined {
  return /^[1-9]\d{0,9}$/.test(text) && Number(text) <= REQUESTS_MAX ? Number(text) : undefined;
}

function readDuration(text: string): number | undefined {
  return positive(parseDurationMs(text, { maxMs: DURATION_MAX_MS }));
}

/** 0 would say no limit, which is the flag's to say. */
function positive(value: number): number | undefined {
  return value > 0 ? value : undefined;
}
