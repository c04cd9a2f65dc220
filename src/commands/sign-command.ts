import { isIP } from "node:net";
import type { AccessKeys } from "../access/keys.ts";
import { isExpired, signRoute } from "../access/signature.ts";
import {
  collectFault,
  type CommandResult,
  type CommandSeams,
  formatRows,
  parseKeyFlag,
  readCommandArguments,
  usageResult,
} from "./command-line.ts";
import { parseDurationMs } from "../config/values.ts";
import { formatEpochSeconds, parseBase36 } from "../route/expiry.ts";
import { formatLabelRoute, formatUriRoute } from "../route/format-route.ts";
import { ROUTE_HEADER } from "../route/parse-route.ts";
import { parsePort } from "../values.ts";
import { isLabelSandboxId, isSandboxId, SANDBOX_ID_MAX_LENGTH } from "../route/route-syntax.ts";

/** A century. A longer duration is a mistake; a time can be given instead. */
const EXPIRES_DURATION_MAX_MS = 100 * 365 * 24 * 3_600_000;

/** Expiries are uint64 (OSEP-0011). */
const EXPIRES_MAX_SECONDS = 2n ** 64n - 1n;

/** RFC 1035 §2.3.4. */
const DNS_LABEL_MAX_LENGTH = 63;

const SIGN_FLAGS = ["key", "id", "port", "expires", "base"] as const;

const SIGN_USAGE = `Usage: ingress sign --key <id>=<base64|@file> --id <sandbox-id> --port <port> --expires <when> [--base <url>]

Prints a signed route to a secured sandbox (OSEP-0011) in header, host and URI form. Anyone who has the route can use the
sandbox until the route expires, without the sandbox's token.

  --key      the key to sign with: its id, and its secret as base64 or in a file that holds the base64.
             Other users can see a secret on the command line: prefer the file
  --id       the sandbox's id
  --port     the port in the sandbox, 1 to 65535
  --expires  a duration from now (90s, 1h30m, 720h), an RFC 3339 time (2030-01-31T12:00:00Z) or an epoch second
  --base     the address of the ingress (https://sandboxes.example.com), to print whole URLs
`;

interface SignRequest {
  readonly keys: AccessKeys;
  readonly sandboxId: string;
  readonly port: number;
  readonly expiresB36: string;
  readonly base: URL | undefined;
}

/**
 * `ingress sign`: makes signed routes for operators to hand out. Pure except for `readFile`. Never throws, never prints
 * a secret.
 */
export function runSignCommand(args: readonly string[], seams: CommandSeams): CommandResult {
  const { flags, positionals, faults: syntaxFaults, wantsHelp } = readCommandArguments(args, SIGN_FLAGS);
  if (wantsHelp) return { stdout: SIGN_USAGE, stderr: "", exitCode: 0 };
  const faults = [...syntaxFaults];
  if (positionals.length > 0) faults.push("takes flags only");
  const read = <T>(name: (typeof SIGN_FLAGS)[number], parse: (text: string) => T): T | undefined => {
    const text = flags.get(name);
    if (text !== undefined) return collectFault(faults, `--${name}`, () => parse(text));
    if (name !== "base") faults.push(`--${name} is missing`);
    return undefined;
  };
  const keys = read("key", (text) => parseSigningKey(text, seams.readFile));
  const sandboxId = read("id", checkSandboxId);
  const port = read("port", checkPort);
  const expiresB36 = read("expires", (text) => parseExpires(text, seams.nowMs).toString(36));
  const base = read("base", parseBase);
  if (
    keys === undefined ||
    sandboxId === undefined ||
    port === undefined ||
    expiresB36 === undefined ||
    faults.length > 0
  ) {
    return usageResult("sign", SIGN_USAGE, faults);
  }
  return sign({ keys, sandboxId, port, expiresB36, base }, seams.nowMs);
}

function sign(request: SignRequest, nowMs: number): CommandResult {
  const { keys, sandboxId, port, expiresB36, base } = request;
  const notes: string[] = [];
  const rows: (readonly [string, string])[] = [];
  const signFor = (id: string) => {
    const signature = signRoute(keys, keys.ids[0] ?? "", { sandboxId: id, port, expiresB36 });
    return { sandboxId: id, port, signature };
  };
  if (isLabelSandboxId(sandboxId)) {
    rows.push(["header", `${ROUTE_HEADER}: ${formatLabelRoute(signFor(sandboxId))}`]);
    // The ingress lower-cases the id of the host form before it checks the signature.
    const hostId = sandboxId.toLowerCase();
    const label = formatLabelRoute(signFor(hostId));
    if (hostId !== sandboxId) notes.push(`the host form names ${hostId}: host names have no upper case`);
    const host = formatHost(label, base);
    if (host === undefined) notes.push("no host form: --base is an address, not a name");
    else if (label.length > DNS_LABEL_MAX_LENGTH) {
      notes.push(
        `no host form: the label has ${label.length} characters, and DNS allows at most ${DNS_LABEL_MAX_LENGTH}`,
      );
    } else rows.push(["host", host]);
  } else {
    notes.push("no header and host form: these forms end the id at its dot");
  }
  const path = `${formatUriRoute(signFor(sandboxId))}/`;
  rows.push(["uri", base === undefined ? path : base.origin + base.pathname.replace(/\/$/, "") + path]);
  rows.push(["expires", formatEpochSeconds(parseBase36(expiresB36))]);
  if (isExpired(expiresB36, nowMs)) notes.push("the route has already expired");
  return {
    stdout: formatRows(rows),
    stderr: notes.map((note) => `ingress sign: note: ${note}\n`).join(""),
    exitCode: 0,
  };
}

/** The host form. `<domain>` stands for the operator's domain. Undefined if the base is an address. */
function formatHost(label: string, base: URL | undefined): string | undefined {
  if (base === undefined) return `${label}.<domain>`;
  if (isIP(base.hostname.replace(/^\[|\]$/g, "")) !== 0) return undefined;
  return `${base.protocol}//${label}.${base.host}/`;
}

function parseSigningKey(text: string, readFile: CommandSeams["readFile"]): AccessKeys {
  const keys = parseKeyFlag(text, readFile);
  if (keys.ids.length !== 1) throw new Error("expected one key");
  return keys;
}

function checkSandboxId(text: string): string {
  if (isSandboxId(text)) return text;
  throw new Error(`expected 1 to ${SANDBOX_ID_MAX_LENGTH} letters, digits or -._~!$&'()*+;=`);
}

function checkPort(text: string): number {
  const port = parsePort(text);
  if (port === undefined) throw new Error("expected a number from 1 to 65535 without a leading zero");
  return port;
}

/** The epoch second of `--expires`. A duration ends in the second that it reaches, never before. */
function parseExpires(text: string, nowMs: number): bigint {
  if (/^\d{1,20}$/.test(text)) {
    const seconds = BigInt(text);
    if (seconds > EXPIRES_MAX_SECONDS) throw new Error("expected an epoch second of at most 2^64 - 1");
    return seconds;
  }
  if (/^\d{4}-/.test(text)) return BigInt(Math.ceil(parseTimeMs(text) / 1000));
  return BigInt(Math.ceil((nowMs + parseDurationMs(text, { maxMs: EXPIRES_DURATION_MAX_MS })) / 1000));
}

const RFC_3339 = /^\d{4}-\d{2}-(\d{2})[Tt ]\d{2}:\d{2}:\d{2}(?:\.\d{1,9})?(?:[Zz]|[+-]\d{2}:\d{2})$/;

/** RFC 3339 §5.6, from 1970 on. */
function parseTimeMs(text: string): number {
  const match = RFC_3339.exec(text);
  // `Date` takes 30 February for a day in March.
  const isDay = match !== null && new Date(`${text.slice(0, 10)}T00:00:00Z`).getUTCDate() === Number(match[1]);
  const timeMs = isDay ? Date.parse(text.replace(" ", "T").toUpperCase()) : Number.NaN;
  if (!(timeMs >= 0)) throw new Error("expected a time from 1970 on, such as 2030-01-31T12:00:00Z");
  return timeMs;
}

function parseBase(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const isPlain = url?.username === "" && url.password === "" && url.search === "" && url.hash === "";
  if (url === undefined || !isPlain || !["http:", "https:"].includes(url.protocol)) {
    throw new Error("expected a URL such as https://sandboxes.example.com");
  }
  return url;
}
