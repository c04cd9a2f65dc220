import { codeOf } from "../values.ts";

/** Why Redis does not take intents, in one word for the log. */
export type RedisFaultCause =
  | "refused"
  | "unreachable"
  | "dns"
  | "timeout"
  | "closed"
  | "tls"
  | "ca-file"
  | "auth"
  | "forbidden"
  | "read-only"
  | "full"
  | "loading"
  | "wrong-type"
  | "protocol"
  | "other";

/**
 * A fault of the connection to Redis. Its message contains only the cause and code: some errors of Redis repeat
 * arguments of a command, and those of AUTH are secrets.
 */
export class RedisFault extends Error {
  override readonly name = "RedisFault";

  readonly reason: RedisFaultCause;
  /** The code of the system or of Redis (`ECONNREFUSED`, `NOAUTH`), or empty. */
  readonly code: string;

  constructor(reason: RedisFaultCause, code: string) {
    super(code === "" ? `Redis fault: ${reason}` : `Redis fault: ${reason} (${code})`);
    this.reason = reason;
    this.code = code;
  }
}

/** Converts any thrown value to a fault without secrets. */
export function classifyRedisFault(error: unknown): RedisFault {
  if (error instanceof RedisFault) return error;
  if (!(error instanceof Error)) return new RedisFault("other", "");
  const code = codeOf(error);
  const reason = SYSTEM_CODES.get(code);
  if (reason !== undefined) return new RedisFault(reason, code);
  if (/CERT|SSL|TLS|SIGNATURE/.test(code)) return new RedisFault("tls", code);
  // Redis before 7 tells so of a script that writes to a replica.
  if (/^ERR .*-READONLY /.test(error.message)) return new RedisFault("read-only", "READONLY");
  // An error reply begins with its kind in capitals (Redis protocol, simple errors).
  const kind = /^[A-Z]{2,20}(?= )/.exec(error.message)?.[0] ?? "";
  return new RedisFault(REPLY_KINDS.get(kind) ?? "other", kind === "" ? code : kind);
}

/** Whether Redis refuses what was sent, so that another connection would not help. */
export function isRefusal(error: unknown): boolean {
  return REFUSALS.has(classifyRedisFault(error).reason);
}

const REFUSALS: ReadonlySet<RedisFaultCause> = new Set(["forbidden", "full", "wrong-type", "other"]);

const SYSTEM_CODES: ReadonlyMap<string, RedisFaultCause> = new Map([
  ["ECONNREFUSED", "refused"],
  ["ENOENT", "refused"],
  ["EACCES", "refused"],
  ["EHOSTUNREACH", "unreachable"],
  ["ENETUNREACH", "unreachable"],
  ["ENOTFOUND", "dns"],
  ["EAI_AGAIN", "dns"],
  ["ETIMEDOUT", "timeout"],
  ["ECONNRESET", "closed"],
  ["EPIPE", "closed"],
]);

const REPLY_KINDS: ReadonlyMap<string, RedisFaultCause> = new Map([
  ["NOAUTH", "auth"],
  ["WRONGPASS", "auth"],
  ["NOPERM", "forbidden"],
  ["DENIED", "forbidden"],
  ["READONLY", "read-only"],
  ["MISCONF", "read-only"],
  ["MASTERDOWN", "read-only"],
  ["NOREPLICAS", "read-only"],
  ["OOM", "full"],
  ["LOADING", "loading"],
  ["BUSY", "loading"],
  ["WRONGTYPE", "wrong-type"],
]);
