import { COUNT, COUNT_MAX, DURATION, type FlagSpec } from "./flag-spec.ts";

const DAY_SECONDS = 86_400;
/** The reference takes any number, and has no such page where one is invalid. */
const ANY_COUNT = { ...COUNT, min: -COUNT_MAX } as const;
const IGNORED = {
  type: "string",
  default: "",
  group: "Other",
  help: "Ignored; accepted because charts pass it",
} as const;

/** When sandboxes were last in use (docs/contract.md §9). */
export const ACTIVITY_FLAGS = [
  {
    name: "activity-enabled",
    type: "bool",
    default: "false",
    group: "Activity",
    help: "Tell through Redis when each sandbox was last in use",
  },
  {
    name: "activity-redis-dsn",
    type: "string",
    default: "redis://127.0.0.1:6379/0",
    group: "Activity",
    valueName: "url",
    secret: true,
    help: "Address of Redis, as --renew-intent-redis-dsn has it; the connection is shared if both are equal",
  },
  {
    name: "activity-min-interval",
    ...DURATION,
    default: "5s",
    group: "Activity",
    min: 0,
    help: "Least time between two notes of one sandbox",
  },
  {
    name: "activity-ttl-seconds",
    type: "int",
    default: "1800",
    group: "Activity",
    valueName: "seconds",
    min: 1,
    max: 365 * DAY_SECONDS,
    help: "How long Redis keeps a note, in seconds",
  },
] as const satisfies readonly FlagSpec[];

/** How `GET /status.ok/network-readiness` judges (docs/contract.md §9). */
export const READINESS_FLAGS = [
  {
    name: "network-readiness-shadow-window",
    ...DURATION,
    default: "1m",
    group: "Operation",
    min: 0,
    help: "Time over which GET /status.ok/network-readiness judges connects to sandboxes",
  },
  {
    name: "network-readiness-max-targets",
    ...ANY_COUNT,
    default: "1024",
    group: "Operation",
    help: "Maximum number of sandboxes that it remembers",
  },
  {
    name: "network-readiness-min-attempts",
    ...ANY_COUNT,
    default: "20",
    group: "Operation",
    help: "Least number of connects for a judgement",
  },
  {
    name: "network-readiness-min-targets",
    ...ANY_COUNT,
    default: "5",
    group: "Operation",
    help: "Least number of sandboxes that were connected to for a judgement",
  },
  {
    name: "network-readiness-min-signal-targets",
    ...ANY_COUNT,
    default: "2",
    group: "Operation",
    help: "Least number of sandboxes whose connects failed for the network",
  },
  {
    name: "network-readiness-failure-ratio",
    type: "string",
    default: "0.2",
    group: "Operation",
    valueName: "number",
    help: "Share of such failures from which on it says DEGRADED, above 0 and at most 1",
  },
] as const satisfies readonly FlagSpec[];

/** Flags of newer versions of the Go ingress that are refused or change nothing (docs/contract.md §9). */
export const OTHER_FLAGS = [
  {
    name: "audit-enabled",
    type: "bool",
    default: "false",
    group: "Other",
    help: "Refused if true: this ingress sends no audit events; the access log has each request",
  },
  { name: "fastpath-endpoint", valueName: "url", ...IGNORED },
  { name: "fastpath-access-mode", valueName: "mode", ...IGNORED },
  { name: "fastpath-wait-timeout-millis", valueName: "number", ...IGNORED },
  { name: "wake-retry-interval", valueName: "duration", ...IGNORED },
  { name: "wake-retry-factor", valueName: "number", ...IGNORED },
  { name: "wake-retry-jitter", valueName: "number", ...IGNORED },
  { name: "audit-webhook-url", valueName: "url", ...IGNORED },
  { name: "audit-queue-size", valueName: "number", ...IGNORED },
  { name: "audit-timeout", valueName: "duration", ...IGNORED },
] as const satisfies readonly FlagSpec[];

/** Flags that change nothing here, and why. */
export const IGNORED_FLAGS = [
  ["fastpath-endpoint", "this ingress has no fast path"],
  ["fastpath-access-mode", "this ingress has no fast path"],
  ["fastpath-wait-timeout-millis", "this ingress has no fast path"],
  ["wake-retry-interval", "this ingress waits for the watch, and does not poll"],
  ["wake-retry-factor", "this ingress waits for the watch, and does not poll"],
  ["wake-retry-jitter", "this ingress waits for the watch, and does not poll"],
  ["audit-webhook-url", "this ingress sends no audit events"],
  ["audit-queue-size", "this ingress sends no audit events"],
  ["audit-timeout", "this ingress sends no audit events"],
] as const;
