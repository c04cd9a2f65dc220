import { COUNT, COUNT_MAX, DURATION, type FlagSpec } from "./flag-spec.ts";

/** As long as the annotation may say, in milliseconds. */
const HOLD_TIME_MAX_MS = 600_000;

/** Flags for requests that wait for their sandboxes. */
export const HOLD_FLAGS = [
  {
    name: "hold-until-ready",
    ...DURATION,
    default: "0",
    group: "Waiting and waking",
    min: 0,
    max: HOLD_TIME_MAX_MS,
    help: "How long a request waits for a sandbox that is not ready or refuses the connection; 0 is not at all",
  },
  {
    name: "hold-max",
    ...COUNT,
    default: "1024",
    group: "Waiting and waking",
    min: 1,
    help: "Maximum number of requests that wait; each sandbox has a quarter of it",
  },
  {
    name: "hold-release-rate",
    ...COUNT,
    default: "100",
    group: "Waiting and waking",
    help: "Requests that go on in a second to a sandbox that became ready; 0 means no limit",
  },
  {
    name: "wake-enabled",
    type: "bool",
    default: "false",
    group: "Waiting and waking",
    help: "Wake a paused sandbox when a request comes for it; needs the permission to patch sandboxes",
  },
  {
    name: "wake-scope",
    type: "choice",
    default: "annotated",
    group: "Waiting and waking",
    valueName: "which",
    choices: ["annotated", "all"],
    help: "Which sandboxes are woken: annotated ones, or all of these and all secured ones",
  },
  {
    name: "wake-park-budget",
    ...DURATION,
    default: "60s",
    group: "Waiting and waking",
    min: 1,
    max: HOLD_TIME_MAX_MS,
    help: "How long requests wait for one wake, from its start",
  },
  {
    name: "wake-park-max",
    ...COUNT,
    default: "1024",
    group: "Waiting and waking",
    min: 1,
    help: "Maximum number of requests that wait for a wake, within --hold-max",
  },
  {
    name: "wake-max",
    ...COUNT,
    default: "32",
    group: "Waiting and waking",
    min: 1,
    max: COUNT_MAX,
    help: "Maximum number of wakes that wait for the API server",
  },
  {
    name: "wake-ignore-paths",
    type: "string",
    default: "/favicon.ico,/robots.txt",
    group: "Waiting and waking",
    valueName: "paths",
    help: "Paths that never wake, separated by commas; HEAD, OPTIONS and prefetches never do",
  },
] as const satisfies readonly FlagSpec[];
