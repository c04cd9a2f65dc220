import type { Clock } from "../clock.ts";
import type { Config } from "../config/config.ts";
import { faultTextOf } from "../config/text.ts";
import { connectRedis, type Rehearsal } from "../renew/redis-client.ts";
import { parseRedisDsn, type RedisTarget } from "../renew/redis-dsn.ts";
import { readRedisDsnFile } from "../renew/redis-dsn-file.ts";
import { classifyRedisFault, RedisFault, type RedisFaultCause } from "../renew/redis-fault.ts";
import type { Finding } from "./finding.ts";

/** Logs in to Redis as the ingress does, and asks whether renew intents would be accepted, without publishing any. */
export async function checkRedis({ renew }: Pick<Config, "renew">, clock: Clock): Promise<Finding> {
  const name = "redis";
  if (!renew.enabled) return { name, state: "skip", detail: "--renew-intent-enabled is off" };
  let target: RedisTarget;
  try {
    target =
      renew.redisDsnFile === undefined ? parseRedisDsn(renew.redisDsn) : await readRedisDsnFile(renew.redisDsnFile);
  } catch (thrown) {
    return { name, state: "fail", detail: faultTextOf(thrown), remedy: "correct the address of Redis" };
  }
  try {
    const connection = await connectRedis(target, { clock, caFile: renew.redisCaFile });
    try {
      const trims = renew.queueMaxLength > 0;
      return { name, ...judge(await connection.rehearse(renew.queueKey, { trims }), { target, key: renew.queueKey }) };
    } finally {
      connection.close();
    }
  } catch (thrown) {
    const fault = classifyRedisFault(thrown);
    return { name, state: "fail", detail: `${target.label}: ${describe(fault)}`, remedy: remedyFor(fault.reason) };
  }
}

function judge(
  { push, trim, length }: Rehearsal,
  { target, key }: { readonly target: RedisTarget; readonly key: string },
): Omit<Finding, "name"> {
  const commands = { LPUSH: push, LTRIM: trim, LLEN: length };
  for (const [command, result] of Object.entries(commands)) {
    if (!(result instanceof RedisFault)) continue;
    const remedy =
      result.reason === "forbidden" ? `permit ${command} on the key ${key} (ACL SETUSER)` : remedyFor(result.reason);
    return { state: "fail", detail: `${target.label}: ${command}: ${describe(result)}`, remedy };
  }
  if (push === undefined) {
    const detail = `${target.label}: logged in; whether LPUSH is permitted cannot be told without publishing`;
    return { state: "warn", detail, remedy: "permit MULTI and DISCARD to have it checked (ACL SETUSER)" };
  }
  const queued = length === undefined ? "" : `, ${String(length)} intents wait for OpenSandbox`;
  return { state: "ok", detail: `${target.label}: intents would be accepted${queued}` };
}

function describe({ reason, code }: RedisFault): string {
  return code === "" ? reason : `${reason} (${code})`;
}

function remedyFor(reason: RedisFaultCause): string {
  switch (reason) {
    case "refused":
    case "unreachable":
    case "dns":
    case "timeout":
    case "closed":
      return "check --renew-intent-redis-dsn, network policies and that Redis runs; rediss:// if it wants TLS";
    case "tls":
    case "ca-file":
      return "check --renew-intent-redis-ca-file and the name in the certificate";
    case "auth":
      return "correct the user and password in the address";
    case "forbidden":
      return "permit SELECT, LPUSH and LTRIM on the key (ACL SETUSER)";
    case "read-only":
      return "name the primary, not a replica";
    case "wrong-type":
      return "choose another --renew-intent-queue-key: this key holds no list";
    case "full":
    case "loading":
    case "protocol":
    case "other":
      return "look at the log of Redis";
    default:
      return reason satisfies never;
  }
}
