import { connect, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";

import type { Clock } from "../clock.ts";
import type { RedisTarget } from "./redis-dsn.ts";
import { classifyRedisFault, RedisFault } from "./redis-fault.ts";

// The client is our own. What was weighed, each against a real server through every fault that the tests know:
// Bun.RedisClient reports every fault as "Connection closed", so a wrong password looks like a dead host. ioredis writes to
// database 0 when SELECT fails. node-redis holds whatever a reply announces, hundreds of megabytes from a hostile server, and
// has no limit for it. Six commands whose replies are single lines need none of them.

/**
 * How long connecting (name, TCP, TLS, log-in, database) and each push may take, in milliseconds. A healthy Redis answers within a
 * few; with the longest pause between attempts (2 s) it keeps the return to service under 5 s.
 */
export const REDIS_DEADLINE_MS = 2_000;
/**
 * The longest reply, in bytes. The commands used here are answered by one line: a status, a number or an error, which may
 * repeat a part of a command. A longer one ends the connection, so a hostile server makes us hold no more than this and what
 * one read of the socket brings.
 */
export const REDIS_REPLY_MAX_BYTES = 4_096;
/** Time without traffic before the kernel asks whether the other side lives, in milliseconds. */
const KEEP_ALIVE_MS = 5_000;

/** One connection, for its whole life; when it fails, make another. */
export interface RedisConnection {
  /** False once the connection has ended. A connection that died without a word is only noticed by the next `push`. */
  isOpen(): boolean;
  /**
   * Puts `values`, at least one, at the head of the list, the last one first. Throws a RedisFault; unless that is an error reply, the
   * push may have happened all the same.
   */
  push(key: string, values: readonly string[]): Promise<void>;
  /** Cuts the list to its first `maxLength` values. Written together with a push of the same turn. Throws a RedisFault. */
  trim(key: string, maxLength: number): Promise<void>;
  /**
   * Runs a Lua script with one key; its reply must be a number. What it wrote may have been written although this throws a
   * RedisFault.
   */
  evaluate(script: string, key: string, values: readonly string[]): Promise<void>;
  /** Ends it at once; what is under way fails. Idempotent, never throws. */
  close(): void;
}

/** Opens a connection that is logged in, in its database and answering. Throws a RedisFault, or what makes one. */
export async function connectRedis(
  target: RedisTarget,
  options: { readonly clock: Clock; readonly caFile: string | undefined },
): Promise<RedisConnection> {
  const ca = target.tls && options.caFile !== undefined ? await readCa(options.caFile) : undefined;
  const connection = new Connection(openSocket(target, ca), options.clock, target.tls);
  try {
    await connection.logIn(target);
  } catch (error) {
    connection.close();
    throw error;
  }
  return connection;
}

/** Throws what the TLS library says of a CA that is not a certificate. */
function openSocket(target: RedisTarget, ca: string | undefined): Socket {
  const { address, tls } = target;
  if ("path" in address) return connect({ path: address.path });
  const common = { ...address, noDelay: true, keepAlive: true, keepAliveInitialDelay: KEEP_ALIVE_MS };
  if (!tls) return connect(common);
  // Said outright, so that NODE_TLS_REJECT_UNAUTHORIZED=0 does not send the password to whoever answers.
  return connectTls({ ...common, rejectUnauthorized: true, ...(ca === undefined ? {} : { ca }) });
}

class Connection implements RedisConnection {
  readonly #socket: Socket;
  readonly #clock: Clock;
  readonly #connected = Promise.withResolvers<void>();
  /** Commands that wait for their replies, oldest first. */
  #waiting: PromiseWithResolvers<void>[] = [];
  /** The beginning of a reply whose end has not come yet; bytes as latin1. */
  #partial = "";
  /** Why it ended. */
  #fault: RedisFault | undefined;

  constructor(socket: Socket, clock: Clock, isTls: boolean) {
    this.#socket = socket;
    this.#clock = clock;
    this.#connected.promise.catch(() => {});
    socket.once(isTls ? "secureConnect" : "connect", () => this.#connected.resolve());
    socket.on("data", (bytes: Buffer) => this.#read(bytes));
    socket.on("error", (error) => this.#end(classifyRedisFault(error)));
    socket.on("close", () => this.#end(new RedisFault("closed", "")));
  }

  isOpen(): boolean {
    return this.#fault === undefined;
  }

  /** A TCP connection proves little: a proxy may have taken it, or a log-in may be missing. So it ends with a PING. */
  logIn({ username, password, database }: RedisTarget): Promise<void> {
    return this.#within(async () => {
      await this.#connected.promise;
      if (password !== undefined) {
        await this.#send(username === undefined ? ["AUTH", password] : ["AUTH", username, password]);
      }
      if (database !== 0) await this.#send(["SELECT", String(database)]);
      try {
        await this.#send(["PING"]);
      } catch (error) {
        // A user who may not PING is fine.
        if (classifyRedisFault(error).reason !== "forbidden") throw error;
      }
    });
  }

  push(key: string, values: readonly string[]): Promise<void> {
    return this.#within(() => this.#send(["LPUSH", key, ...values]));
  }

  trim(key: string, maxLength: number): Promise<void> {
    return this.#within(() => this.#send(["LTRIM", key, "0", String(maxLength - 1)]));
  }

  evaluate(script: string, key: string, values: readonly string[]): Promise<void> {
    return this.#within(() => this.#send(["EVAL", script, "1", key, ...values]));
  }

  close(): void {
    this.#end(new RedisFault("closed", ""));
  }

  /** Does the work within REDIS_DEADLINE_MS, or ends the connection, which fails the work. */
  async #within(work: () => Promise<void>): Promise<void> {
    const timer = this.#clock.setTimer(REDIS_DEADLINE_MS, () => this.#end(new RedisFault("timeout", "")));
    try {
      await work();
    } finally {
      timer.cancel();
    }
  }

  /** Sends a command (RESP 2) and waits for its reply. */
  #send(words: readonly string[]): Promise<void> {
    if (this.#fault !== undefined) return Promise.reject(this.#fault);
    const reply = Promise.withResolvers<void>();
    this.#waiting.push(reply);
    const parts = words.map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`);
    this.#socket.write(`*${words.length}\r\n${parts.join("")}`);
    return reply.promise;
  }

  #read(bytes: Buffer): void {
    if (this.#fault !== undefined) return;
    const lines = (this.#partial + bytes.toString("latin1")).split("\r\n");
    this.#partial = lines.pop() ?? "";
    if (this.#partial.length > REDIS_REPLY_MAX_BYTES) return this.#end(new RedisFault("protocol", ""));
    for (const line of lines) {
      const waiting = this.#waiting.shift();
      const kind = line.slice(0, 1);
      const isReply = "+:-".includes(kind) && kind !== "" && line.length <= REDIS_REPLY_MAX_BYTES;
      if (waiting === undefined || !isReply) {
        const fault = new RedisFault("protocol", "");
        waiting?.reject(fault);
        return this.#end(fault);
      }
      if (kind === "-") waiting.reject(classifyRedisFault(new Error(line.slice(1))));
      else waiting.resolve();
    }
  }

  #end(fault: RedisFault): void {
    if (this.#fault !== undefined) return;
    this.#fault = fault;
    this.#partial = "";
    this.#socket.destroy();
    this.#connected.reject(fault);
    for (const waiting of this.#waiting.splice(0)) waiting.reject(fault);
  }
}

/** Read at each connect, so a CA that was replaced on disk is taken up by the next one. */
async function readCa(path: string): Promise<string> {
  try {
    return await Bun.file(path).text();
  } catch (error) {
    throw new RedisFault("ca-file", classifyRedisFault(error).code);
  }
}
