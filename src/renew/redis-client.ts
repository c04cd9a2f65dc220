import type { Clock } from "../clock.ts";
import type { RedisTarget } from "./redis-dsn.ts";
import { classifyRedisFault, RedisFault } from "./redis-fault.ts";

// The client is node-redis. What was weighed, each against a real server through every fault that the tests know:
// Bun.RedisClient reports every fault as "Connection closed", so a wrong password looks like a dead host, and needs a server that
// knows HELLO. ioredis writes to database 0 when SELECT fails, and its connect() hides the cause too. node-redis rejects with the
// cause, frees everything on destroy(), and brings no further package.
type RedisModule = typeof import("@redis/client");

/**
 * How long connecting (name, TCP, TLS, log-in, database) and each push may take, in milliseconds. A healthy Redis answers within a
 * few; with the longest pause between attempts (2 s) it keeps the return to service under 5 s.
 */
export const REDIS_DEADLINE_MS = 2_000;

/** One connection, for its whole life; when it fails, make another. */
export interface RedisConnection {
  /** False once the connection has ended. A connection that died without a word is only noticed by the next `push`. */
  isOpen(): boolean;
  /**
   * Puts `values`, at least one, at the head of the list, the last one first. Throws a RedisFault; unless that is an error reply, the
   * push may have happened all the same.
   */
  push(key: string, values: string[]): Promise<void>;
  /** Cuts the list to its first `maxLength` values. Written together with a push of the same turn. Throws a RedisFault. */
  trim(key: string, maxLength: number): Promise<void>;
  /** Ends it at once; what is under way fails. Idempotent, never throws. */
  close(): void;
}

/** Opens a connection that is logged in, in its database and answering. Throws a RedisFault. */
export async function connectRedis(
  target: RedisTarget,
  options: { clock: Clock; caFile: string | undefined },
): Promise<RedisConnection> {
  // Here and not at the top: only who turns renewing on pays for loading it (about 10 ms of the start).
  const redis = await import("@redis/client");
  const ca = target.tls && options.caFile !== undefined ? await readCa(options.caFile) : undefined;
  const client = createClient(redis, target, ca);
  // What ends a connection fails its commands too, or is found by isOpen(). Without a listener it would end the process.
  client.on("error", () => {});
  const close = () => client.destroy();
  const bounded = async (work: Promise<unknown>) => {
    try {
      await withDeadline(options.clock, work, close);
    } catch (error) {
      throw toFault(redis, error);
    }
  };
  try {
    await bounded(client.connect().then(() => checkAnswers(client.ping())));
  } catch (error) {
    close();
    throw error;
  }
  return {
    isOpen: () => client.isReady,
    push: (key, values) => bounded(client.lPush(key, values)),
    trim: (key, maxLength) => bounded(client.lTrim(key, 0, maxLength - 1)),
    close,
  };
}

/** A TCP connection proves little: a proxy may have taken it, or a log-in may be missing. A user who may not PING is fine. */
async function checkAnswers(ping: Promise<unknown>): Promise<void> {
  try {
    await ping;
  } catch (error) {
    if (classifyRedisFault(error).reason !== "forbidden") throw error;
  }
}

/** No reconnecting, no offline queue, nothing sent but log-in, SELECT and what is asked for: RESP 2 needs no HELLO. */
function createClient(redis: RedisModule, target: RedisTarget, ca: string | undefined) {
  const { address, tls, username, password, database } = target;
  const common = { connectTimeout: REDIS_DEADLINE_MS, reconnectStrategy: false } as const;
  const secure = ca === undefined ? { tls: true as const } : { tls: true as const, ca };
  return redis.createClient({
    RESP: 2,
    database,
    disableOfflineQueue: true,
    disableClientInfo: true,
    ...(username === undefined ? {} : { username }),
    ...(password === undefined ? {} : { password }),
    socket:
      "path" in address
        ? { ...common, tls: false, path: address.path }
        : tls
          ? { ...common, ...secure, ...address }
          : { ...common, ...address },
  });
}

/** Read at each connect, so a CA that was replaced on disk is taken up by the next one. */
async function readCa(path: string): Promise<string> {
  try {
    return await Bun.file(path).text();
  } catch (error) {
    throw new RedisFault("ca-file", classifyRedisFault(error).code);
  }
}

function toFault(redis: RedisModule, error: unknown): RedisFault {
  if (error instanceof redis.ConnectionTimeoutError) return new RedisFault("timeout", "");
  const { SocketClosedUnexpectedlyError, ClientClosedError, ClientOfflineError, DisconnectsClientError } = redis;
  for (const closed of [SocketClosedUnexpectedlyError, ClientClosedError, ClientOfflineError, DisconnectsClientError]) {
    if (error instanceof closed) return new RedisFault("closed", "");
  }
  return classifyRedisFault(error);
}

/** Settles as `work` does, or calls `giveUp` and rejects after REDIS_DEADLINE_MS; a later rejection of `work` is let go. */
async function withDeadline(clock: Clock, work: Promise<unknown>, giveUp: () => void): Promise<void> {
  const late = Promise.withResolvers<never>();
  const timer = clock.setTimer(REDIS_DEADLINE_MS, () => {
    late.reject(new RedisFault("timeout", ""));
    giveUp();
  });
  try {
    await Promise.race([work, late.promise]);
  } finally {
    timer.cancel();
  }
}
