import { DURATION_MAX_MS } from "./values.ts";

/** The type of a flag's value. It decides how the value is parsed and how help describes it. */
export type FlagType = "string" | "bool" | "int" | "duration" | "size" | "choice";

/** The groups of `--help`, in order. */
export const FLAG_GROUPS = [
  "Sandboxes",
  "Traffic",
  "Limits and times",
  "Stopping",
  "Secure access",
  "Renew intents",
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
  /** Types `int` (a number), `duration` (milliseconds), `size` (bytes): the least and greatest allowed value. */
  readonly min?: number;
  readonly max?: number;
  /** The value is a secret or contains one. No fault, warning or log line repeats it. */
  readonly secret?: true;
}

const PORT_MAX = 65_535;
/** Largest count of requests: more than a machine can hold, and still an exact number. */
const COUNT_MAX = 1_000_000_000;
const KIB = 1024;
/** Least header size: an ordinary browser's request must fit. Greatest: memory holds one for each connection. */
const HEADER_MIN_BYTES = 4 * KIB;
const HEADER_MAX_BYTES = 16 * KIB * KIB;
/** Memory holds a whole WebSocket message. The longest control frame has 125 bytes (RFC 6455 §5.5). */
const MESSAGE_MIN_BYTES = 125;
const MESSAGE_MAX_BYTES = 1024 * KIB * KIB;
const DAY_SECONDS = 86_400;

const PORT = { type: "int", valueName: "port", min: 0, max: PORT_MAX } as const;
const COUNT = { type: "int", valueName: "count", min: 0, max: COUNT_MAX } as const;
const DURATION = { type: "duration", valueName: "duration", max: DURATION_MAX_MS } as const;

/**
 * All flags, in one table: it is long, but a reader looks up one row at a time. docs/contract.md §6 lists the flags
 * that existing charts pass.
 */
export const FLAGS = [
  {
    name: "namespace",
    type: "string",
    default: "",
    group: "Sandboxes",
    valueName: "names",
    help: "Namespaces to watch, separated by commas; required unless --manifests or --all-namespaces is given",
  },
  {
    name: "all-namespaces",
    type: "bool",
    default: "false",
    group: "Sandboxes",
    help: "Watch every namespace; overrides --namespace",
  },
  {
    name: "provider-type",
    type: "choice",
    default: "batchsandbox",
    group: "Sandboxes",
    valueName: "type",
    choices: ["batchsandbox", "agent-sandbox"],
    help: "Kind of sandbox resource: batchsandbox or agent-sandbox",
  },
  {
    name: "manifests",
    type: "string",
    default: "",
    group: "Sandboxes",
    valueName: "path",
    help: "Read sandboxes from this file or folder of custom resources instead of from Kubernetes",
  },
  {
    name: "kubeconfig",
    type: "string",
    default: "",
    group: "Sandboxes",
    valueName: "file",
    help: "How to reach Kubernetes; else KUBECONFIG, the pod's service account or ~/.kube/config",
  },
  {
    name: "allow-loopback-endpoints",
    type: "bool",
    default: "false",
    group: "Sandboxes",
    help: "Allow sandboxes on loopback addresses, for tests and demos; --manifests implies it",
  },
  {
    name: "endpoint-ranges",
    type: "string",
    default: "",
    group: "Sandboxes",
    valueName: "ranges",
    help: "Allowed addresses and CIDR ranges of sandboxes, separated by commas: the pods' ranges; empty is no limit",
  },
  {
    name: "cluster-domain",
    type: "string",
    default: "",
    group: "Sandboxes",
    valueName: "domain",
    help: "Domain of the cluster in names of Services; else the one in /etc/resolv.conf, or cluster.local",
  },
  {
    name: "mode",
    type: "choice",
    default: "header",
    group: "Traffic",
    valueName: "mode",
    choices: ["header", "uri", "wildcard"],
    help: "Where a request names its sandbox: header (also in Host) or uri; wildcard means header",
  },
  {
    name: "host",
    type: "string",
    default: "::",
    group: "Traffic",
    valueName: "address",
    help: "Address to listen on; :: means all IPv6 and IPv4 addresses",
  },
  {
    name: "port",
    ...PORT,
    default: "28888",
    group: "Traffic",
    help: "Port to listen on; 0 takes a free port",
  },
  {
    name: "trusted-proxies",
    type: "string",
    default: "private",
    group: "Traffic",
    valueName: "ranges",
    help: "Peers whose X-Forwarded-* headers are trusted: private, none, or addresses and CIDR ranges",
  },
  {
    name: "host-header",
    type: "choice",
    default: "upstream",
    group: "Traffic",
    valueName: "mode",
    choices: ["upstream", "preserve", "localhost"],
    help: "Host that a sandbox gets: upstream (its own address), preserve (the client's) or localhost",
  },
  {
    name: "origin-header",
    type: "choice",
    default: "preserve",
    group: "Traffic",
    valueName: "mode",
    choices: ["preserve", "upstream"],
    help: "Origin and Referer that a sandbox gets for its own pages: preserve (the client's) or upstream (like its Host)",
  },
  {
    name: "uri-prefix",
    type: "choice",
    default: "strip",
    group: "Traffic",
    valueName: "mode",
    choices: ["strip", "keep"],
    help: "Prefix of the URI form in the path that a sandbox gets: strip or keep",
  },
  {
    name: "uri-recovery",
    type: "choice",
    default: "referer",
    group: "Traffic",
    valueName: "mode",
    choices: ["referer", "off"],
    help: "Absolute paths of pages in the URI form: referer (redirect to the prefix of the page) or off",
  },
  {
    name: "cookie-domain",
    type: "choice",
    default: "drop",
    group: "Traffic",
    valueName: "mode",
    choices: ["drop", "keep"],
    help: "Domain of a cookie that covers other sandboxes, too: drop or keep",
  },
  {
    name: "cors-origins",
    type: "string",
    default: "",
    group: "Traffic",
    valueName: "origins",
    help: "Origins, separated by commas, whose pages may read answers: https://a.example.com, https://*.example.com",
  },
  {
    name: "connect-timeout",
    ...DURATION,
    default: "5s",
    group: "Limits and times",
    min: 1,
    help: "Longest time to connect to a sandbox",
  },
  {
    name: "response-timeout",
    ...DURATION,
    default: "0",
    group: "Limits and times",
    min: 0,
    help: "Longest time for a sandbox to begin its answer; 0 is no limit",
  },
  {
    name: "stream-idle-timeout",
    ...DURATION,
    default: "0",
    group: "Limits and times",
    min: 0,
    help: "Cut a body or WebSocket without a byte for this time; 0 is no limit",
  },
  {
    name: "stream-early-newline",
    type: "bool",
    default: "false",
    group: "Limits and times",
    help: "Send a line feed first if an event stream is silent for 100 ms, so that its client gets the head",
  },
  {
    name: "client-idle-timeout",
    ...DURATION,
    default: "60s",
    group: "Limits and times",
    min: 0,
    help: "Answer 408 if no byte of a request's body arrives for this time; 0 is no limit",
  },
  {
    name: "max-requests",
    ...COUNT,
    default: "10000",
    group: "Limits and times",
    help: "Maximum number of open requests and WebSockets; 0 is no limit",
  },
  {
    name: "max-requests-per-sandbox",
    ...COUNT,
    default: "1000",
    group: "Limits and times",
    help: "Maximum number of open requests and WebSockets for each sandbox; 0 is no limit",
  },
  {
    name: "max-header-size",
    type: "size",
    default: "64KiB",
    group: "Limits and times",
    valueName: "size",
    min: HEADER_MIN_BYTES,
    max: HEADER_MAX_BYTES,
    help: "Largest request line with headers; above it, 431",
  },
  {
    name: "max-body-size",
    type: "size",
    default: "0",
    group: "Limits and times",
    valueName: "size",
    min: 0,
    max: Number.MAX_SAFE_INTEGER,
    help: "Largest body of a request; above it, 413; 0 is no limit",
  },
  {
    name: "memory-budget",
    type: "size",
    default: "0",
    group: "Limits and times",
    valueName: "size",
    min: 0,
    max: Number.MAX_SAFE_INTEGER,
    help: "Maximum memory for all requests together; 0 derives it from the memory limit",
  },
  {
    name: "websocket-max-message",
    type: "size",
    default: "",
    defaultText: "64MiB, or 1/16 of the memory limit if that is less",
    group: "Limits and times",
    valueName: "size",
    min: MESSAGE_MIN_BYTES,
    max: MESSAGE_MAX_BYTES,
    help: "Largest WebSocket message; a larger one closes the WebSocket with code 1009",
  },
  {
    name: "websocket-frame-rate",
    ...COUNT,
    default: "4000",
    group: "Limits and times",
    help: "Maximum number of frames per second in each direction of a WebSocket, times 64 for a sandbox or client; 0 is no limit",
  },
  {
    name: "shutdown-delay",
    ...DURATION,
    default: "5s",
    group: "Stopping",
    min: 0,
    help: "After SIGTERM: time to keep serving, not ready, so that load balancers can react",
  },
  {
    name: "drain-timeout",
    ...DURATION,
    default: "20s",
    group: "Stopping",
    min: 0,
    help: "After the delay: longest time for open requests to end before they are cut",
  },
  {
    name: "secure-access-keys",
    type: "string",
    default: "",
    group: "Secure access",
    valueName: "keys",
    secret: true,
    help: "Keys of signed routes, as a=<base64>,b=<base64>; prefer the file, because the pod's spec shows flags",
  },
  {
    name: "secure-access-keys-file",
    type: "string",
    default: "",
    group: "Secure access",
    valueName: "file",
    help: "File with these keys, one per line or separated by commas; read again when it changes",
  },
  {
    name: "end-at-expiry",
    type: "bool",
    default: "false",
    group: "Secure access",
    help: "End streams and WebSockets of a signed route when it expires; by default they continue",
  },
  {
    name: "renew-intent-enabled",
    type: "bool",
    default: "false",
    group: "Renew intents",
    help: "Tell OpenSandbox through Redis which sandboxes are in use",
  },
  {
    name: "renew-intent-redis-dsn",
    type: "string",
    default: "redis://127.0.0.1:6379/0",
    group: "Renew intents",
    valueName: "url",
    secret: true,
    help: "Address of Redis: redis://, rediss:// or unix://, with user:password@ and /database",
  },
  {
    name: "renew-intent-redis-dsn-file",
    type: "string",
    default: "",
    group: "Renew intents",
    valueName: "file",
    help: "File with this address instead, read at the start, because the pod's spec shows flags",
  },
  {
    name: "renew-intent-redis-ca-file",
    type: "string",
    default: "",
    group: "Renew intents",
    valueName: "file",
    help: "Certificate authority of a rediss:// server; else the system's",
  },
  {
    name: "renew-intent-queue-key",
    type: "string",
    default: "opensandbox:renew:intent",
    group: "Renew intents",
    valueName: "key",
    help: "Key of the Redis list",
  },
  {
    name: "renew-intent-queue-max-len",
    ...COUNT,
    default: "0",
    group: "Renew intents",
    help: "Maximum length of the list; older intents are removed; 0 is no limit",
  },
  {
    name: "renew-intent-min-interval",
    type: "int",
    default: "60",
    group: "Renew intents",
    valueName: "seconds",
    min: 0,
    max: DAY_SECONDS,
    help: "Least time between two intents for a sandbox, in seconds; 0 is no limit",
  },
  {
    name: "admin-host",
    type: "string",
    default: "::",
    group: "Operation",
    valueName: "address",
    help: "Address for probes, metrics and the pages for operators",
  },
  {
    name: "admin-port",
    ...PORT,
    default: "28889",
    group: "Operation",
    help: "Port for /livez, /readyz, /metrics and the pages for operators; 0 turns it off",
  },
  {
    name: "admin-token-file",
    type: "string",
    default: "",
    group: "Operation",
    valueName: "file",
    help: "File with the token that opens the pages for operators to other machines; read again when it changes; without it this machine only",
  },
  {
    name: "log-level",
    type: "choice",
    default: "info",
    group: "Operation",
    valueName: "level",
    choices: ["debug", "info", "warn", "error"],
    help: "Lowest level of log lines: debug, info, warn or error",
  },
  {
    name: "log-format",
    type: "choice",
    default: "text",
    group: "Operation",
    valueName: "format",
    choices: ["text", "json"],
    help: "Format of log lines: text or json",
  },
  {
    name: "access-log",
    type: "choice",
    default: "errors",
    group: "Operation",
    valueName: "which",
    choices: ["off", "errors", "all"],
    help: "Which requests are logged: off, errors or all",
  },
  {
    name: "fastpath-endpoint",
    type: "string",
    default: "",
    group: "Other",
    valueName: "url",
    help: "Ignored; accepted because charts pass it",
  },
  { name: "version", type: "bool", default: "false", group: "Other", help: "Print version and build, then exit" },
  { name: "help", type: "bool", default: "false", group: "Other", help: "Print this text, then exit; also -h" },
] as const satisfies readonly FlagSpec[];

type Flag = (typeof FLAGS)[number];
export type FlagName = Flag["name"];
/** The names of the flags of one type. */
export type FlagNameOf<T extends FlagType> = Extract<Flag, { readonly type: T }>["name"];
/** The allowed values of a flag of type `choice`. */
export type FlagChoice<N extends FlagNameOf<"choice">> = Extract<
  Flag,
  { readonly name: N; readonly choices: readonly string[] }
>["choices"][number];
