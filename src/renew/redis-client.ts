import { connect, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";

import type { Clock } from "../clock.ts";
import type { RedisTarget } from "./redis-dsn.ts";
import { classifyRedisFault, RedisFault } from "./redis-fault.ts";

// Why this client is our own; each alternative was tested with a real server and all faults of the tests.
// Bun.RedisClient reports every fault as "Connection closed", so a wrong password looks like a dead host. ioredis
// writes to database 0 if SELECT fails. node-redis keeps any reply in memory, without a limit: hundreds of megabytes
// from a hostile server. Six commands with one-line replies need none of them.

/**
 * How long connecting (name, TCP, TLS, log-in, database) and each push may take, in milliseconds. A healthy Redis
 * answers in a few milliseconds. With the longest pause between attempts (2 s), service resumes within 5 s.
 */
export const REDIS_DEADLINE_MS = 2_000;
/**
 * The longest reply, in bytes. The commands here have replies of one line: a status, a number or an error, which may
 * repeat a part of a command. A longer reply ends the connection, so a hostile server can fill at most this much
 * memory, plus one read of the socket.
 */
export const REDIS_REPLY_MAX_BYTES = 4_096;
/** Time without traffic before the kernel checks the connection, in milliseconds. */
const KEEP_ALIVE_MS = 5_000;

/** What `rehearse` finds. */
export interface Rehearsal {
  /** Undefined: the user may not use transactions, so nothing was rehearsed. */
  readonly push: "accepted" | RedisFault | undefined;
  /** Undefined: also if it was not asked for. */
  readonly trim: "accepted" | RedisFault | undefined;
  /** The length of the list; a fault if the key holds something else; undefined if the user may not ask. */
  readonly length: number | RedisFault | undefined;
}

/** One connection, for its whole life. After a failure, make a new one. */
export interface RedisConnection {
  /** False after the connection has ended. Only the next `push` notices a connection that died silently. */
  isOpen(): boolean;
  /**
   * Adds `values`, at least one, to the head of the list; the last value becomes the first element. Throws a
   * RedisFault. Unless it is an error reply, the push may still have happened.
   */
  push(key: string, values: readonly string[]): Promise<void>;
  /**
   * Cuts the list to its first `maxLength` values. It is written together with a push in the same turn. Throws a
   * RedisFault.
   */
  trim(key: string, maxLength: number): Promise<void>;
  /**
   * Asks whether `push` and, if `trims`, `trim` would be accepted, and changes nothing: the commands stand in a
   * transaction that is discarded (Redis: "Transactions"), and Redis refuses them as they come. Throws a RedisFault.
   */
  rehearse(key: string, options: { readonly trims: boolean }): Promise<Rehearsal>;
  /**
   * Runs a Lua script with one key. Its reply must be a number. What it wrote may have been written although this throws a
   * RedisFault.
   */
  evaluate(script: string, key: string, values: readonly string[]): Promise<void>;
  /** Ends the connection at once. Commands in flight fail. Idempotent, never throws. */
  close(): void;
}

/**
 * Opens a connection that is logged in, uses its database and answers. Throws a RedisFault, or an error that
 * `classifyRedisFault` understands.
 */
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

/** Throws the TLS library's error if the CA is not a certificate. */
function openSocket(target: RedisTarget, ca: string | undefined): Socket {
  const { address, tls } = target;
  if ("path" in address) return connect({ path: address.path });
  const common = { ...address, noDelay: true, keepAlive: true, keepAliveInitialDelay: KEEP_ALIVE_MS };
  if (!tls) return connect(common);
  // Set explicitly, so that NODE_TLS_REJECT_UNAUTHORIZED=0 cannot send the password to an unverified server.
  return connectTls({ ...common, rejectUnauthorized: true, ...(ca === undefined ? {} : { ca }) });
}

class Connection implements RedisConnection {
  readonly #socket: Socket;
  readonly #clock: Clock;
  readonly #connected = Promise.withResolvers<void>();
  /** Commands that wait for their replies, oldest first. */
  #waiting: PromiseWithResolvers<string>[] = [];
  /** The incomplete reply so far; bytes as latin1. */
  #partial = "";
  /** Why the connection ended. */
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

  /**
   * A TCP connection proves little: a proxy may have accepted it, or a log-in may be missing. So the last step is a
   * PING.
   */
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
        // The user may lack the right to PING. The server has answered, which is enough.
        if (classifyRedisFault(error).reason !== "forbidden") throw error;
      }
    });
  }

  push(key: string, values: readonly string[]): Promise<void> {
    return this.#within(async () => void (await this.#send(["LPUSH", key, ...values])));
  }

  trim(key: string, maxLength: number): Promise<void> {
    return this.#within(async () => void (await this.#send(["LTRIM", key, "0", String(maxLength - 1)])));
  }

  async rehearse(key: string, { trims }: { readonly trims: boolean }): Promise<Rehearsal> {
    let rehearsal: Rehearsal = { push: undefined, trim: undefined, length: undefined };
    await this.#within(async () => {
      const length = await this.#attempt(["LLEN", key]);
      rehearsal = { ...rehearsal, length: isForbidden(length) ? undefined : length };
      const begun = await this.#attempt(["MULTI"]);
      if (isForbidden(begun)) return;
      if (begun instanceof RedisFault) throw begun;
      const push = await this.#attempt(["LPUSH", key, ""]);
      const trim = trims ? await this.#attempt(["LTRIM", key, "0", "-1"]) : undefined;
      await this.#attempt(["DISCARD"]);
      rehearsal = {
        ...rehearsal,
        push: push instanceof RedisFault ? push : "accepted",
        trim: trim instanceof RedisFault ? trim : trim === undefined ? undefined : "accepted",
      };
    });
    return rehearsal;
  }

  evaluate(script: string, key: string, values: readonly string[]): Promise<void> {
    return this.#within(async () => void (await this.#send(["EVAL", script, "1", key, ...values])));
  }

  close(): void {
    this.#end(new RedisFault("closed", ""));
  }

  /** The number in a reply, 0 for another one, and an error reply as a value. Throws what ends the connection. */
  async #attempt(words: readonly string[]): Promise<number | RedisFault> {
    try {
      return Number.parseInt((await this.#send(words)).slice(1), 10) || 0;
    } catch (error) {
      if (this.#fault !== undefined) throw this.#fault;
      return classifyRedisFault(error);
    }
  }

  /** Runs `work`. After REDIS_DEADLINE_MS it ends the connection, which fails the work. */
  async #within(work: () => Promise<void>): Promise<void> {
    const timer = this.#clock.setTimer(REDIS_DEADLINE_MS, () => this.#end(new RedisFault("timeout", "")));
    try {
      await work();
    } finally {
      timer.cancel();
    }
  }

  /** Sends a command (RESP 2) and waits for its reply, a line. */
  #send(words: readonly string[]): Promise<string> {
    if (this.#fault !== undefined) return Promise.reject(this.#fault);
    const reply = Promise.withResolvers<string>();
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
      else waiting.resolve(line);
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

function isForbidden(reply: number | RedisFault): boolean {
  return reply instanceof RedisFault && reply.reason === "forbidden";
}

/** Read at each connect, so that a replaced CA file takes effect at the next one. */
async function readCa(path: string): Promise<string> {
  try {
    return await Bun.file(path).text();
  } catch (error) {
    throw new RedisFault("ca-file", classifyRedisFault(error).code);
  }
}
