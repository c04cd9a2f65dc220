import { sleep, type Clock } from "../clock.ts";
import type { Logger } from "../log/logger.ts";
import { connectRedis, type RedisConnection } from "./redis-client.ts";
import { readRedisDsnFile } from "./redis-dsn-file.ts";
import { parseRedisDsn, type RedisTarget } from "./redis-dsn.ts";
import { classifyRedisFault, type RedisFault } from "./redis-fault.ts";

/** Pause after the first failure, in milliseconds; doubles up to RETRY_MAX_MS. */
const RETRY_MIN_MS = 100;
/** The longest pause between attempts, in milliseconds: with REDIS_DEADLINE_MS under the 5 s that a return may take. */
const RETRY_MAX_MS = 2_000;
/** How long work gathers before a batch is sent, in milliseconds. Nobody waits for it; a batch costs less than many. */
const GATHER_MS = 20;

/** Where Redis is. */
export interface RedisAddress {
  /** Carries a password: never logged. Without meaning where `redisDsnFile` is given. */
  readonly redisDsn: string;
  /** A file with the DSN, read at the start; undefined: `redisDsn` counts. */
  readonly redisDsnFile: string | undefined;
  /** Undefined: the system's authorities. */
  readonly redisCaFile: string | undefined;
}

/** What is sent over a connection: a queue of its own. */
export interface RedisSource {
  /** What it sends, for the log, in the plural with a capital. */
  readonly what: string;
  /** What waits to be sent. */
  readonly size: number;
  /** How much one batch takes: with so much waiting nothing is gathered. */
  readonly batchMax: number;
  /** Sends one batch. Gives whether there was one. What it throws costs the connection, so it first puts back what may be sent again. */
  send(connection: RedisConnection): Promise<boolean>;
  /** Called at the end: what waits now is lost. */
  giveUp(): void;
}

/** How sending goes, for metrics. */
export interface SenderStats {
  /** Attempts (to connect, or to send a batch) that failed. */
  readonly failed: number;
  /** Whether the last attempt succeeded. False before the first. */
  readonly healthy: boolean;
}

/**
 * One connection to Redis, and what is sent over it.
 *
 * Every failure is handled the same way, whatever its cause: close, wait (100 ms doubling to 2 s, with jitter), connect afresh,
 * for ever. A new connection also looks the name up again, so a fail-over is followed.
 */
export class RedisSender {
  readonly #address: RedisAddress;
  readonly #sources: readonly RedisSource[];
  readonly #logger: Logger;
  readonly #clock: Clock;
  /** Undefined until `start` has read the DSN's file. */
  #target: RedisTarget | undefined;
  /** Aborted when `stop` begins: nothing waits any more. */
  readonly #stopping = new AbortController();
  #connection: RedisConnection | undefined;
  /** Wakes the loop that waits for work. */
  #wake: (() => void) | undefined;
  #running: Promise<void> | undefined;
  #stopped: Promise<void> | undefined;
  #isClosed = false;
  #health: "unknown" | "up" | "down" = "unknown";
  /** What failed last; undefined once it has succeeded. Connecting again does not prove that a batch will succeed. */
  #failing: "connect" | "send" | undefined;
  #failuresInARow = 0;
  #failed = 0;

  /** Throws an Error (never showing the DSN) when the DSN cannot be parsed; where a file has it, `start` rejects with that. */
  constructor(
    address: RedisAddress,
    sources: readonly RedisSource[],
    { logger, clock }: { readonly logger: Logger; readonly clock: Clock },
  ) {
    this.#address = address;
    this.#sources = sources;
    this.#logger = logger;
    this.#clock = clock;
    this.#target = address.redisDsnFile === undefined ? parseRedisDsn(address.redisDsn) : undefined;
  }

  /** From the beginning of `stop` on: what is offered now would never be sent. */
  get isStopping(): boolean {
    return this.#stopping.signal.aborted;
  }

  /** Says that there is work. */
  wake(): void {
    this.#wake?.();
  }

  stats(): SenderStats {
    return { failed: this.#failed, healthy: this.#health === "up" };
  }

  async start(): Promise<void> {
    this.#target ??= await readRedisDsnFile(this.#address.redisDsnFile ?? "");
    this.#running ??= this.#run(this.#target);
  }

  /** Sends what waits within `flushMaxMs`, then closes. Idempotent. */
  stop(flushMaxMs: number): Promise<void> {
    this.#stopped ??= this.#flush(flushMaxMs);
    return this.#stopped;
  }

  async #flush(flushMaxMs: number): Promise<void> {
    this.#stopping.abort();
    this.#wake?.();
    const flushed = new AbortController();
    await Promise.race([this.#running, sleep(this.#clock, flushMaxMs, flushed.signal)]);
    flushed.abort();
    this.#isClosed = true;
    this.#connection?.close();
    for (const source of this.#sources) source.giveUp();
  }

  /** Connects and sends, for ever; once stopping, until nothing waits or an attempt fails. Never rejects. */
  async #run(target: RedisTarget): Promise<void> {
    const { signal } = this.#stopping;
    while (!this.#isClosed) {
      try {
        await this.#connect(target);
        await this.#send();
      } catch (error) {
        this.#onFailure(classifyRedisFault(error));
        if (signal.aborted) return;
        await sleep(this.#clock, this.#retryDelayMs(), signal);
        continue;
      }
      if (this.#sources.every(({ size }) => size === 0)) {
        if (signal.aborted) return;
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
      if (this.#sources.every(({ size, batchMax }) => size < batchMax)) await sleep(this.#clock, GATHER_MS, signal);
    }
  }

  /** Makes a connection unless there is a live one: the first, after a failure, after the server closed an idle one. */
  async #connect(target: RedisTarget): Promise<void> {
    if (this.#connection?.isOpen() === true) return;
    const failingBefore = this.#failing;
    this.#failing = "connect";
    const connection = await connectRedis(target, { clock: this.#clock, caFile: this.#address.redisCaFile });
    if (this.#isClosed) return connection.close();
    this.#connection = connection;
    this.#failing = failingBefore;
    if (failingBefore !== "send") this.#onSuccess();
  }

  async #send(): Promise<void> {
    const connection = this.#connection;
    if (connection === undefined) return;
    for (const source of this.#sources) {
      if (source.size === 0) continue;
      this.#failing = "send";
      const isSent = await source.send(connection);
      if (this.#isClosed) return;
      if (isSent) this.#onSuccess();
    }
  }

  #onSuccess(): void {
    this.#failing = undefined;
    this.#failuresInARow = 0;
    if (this.#health === "up") return;
    const message = this.#health === "down" ? "are published again" : "go to Redis";
    this.#health = "up";
    this.#logger.info(`${this.#what} ${message}`, { redis: this.#target?.label, queued: this.#queued });
  }

  /** Says it once when sending begins to fail; what happens until it succeeds again is for debugging. */
  #onFailure(fault: RedisFault): void {
    this.#connection?.close();
    this.#connection = undefined;
    if (this.#isClosed) return;
    this.#failed += 1;
    this.#failuresInARow += 1;
    const fields = { redis: this.#target?.label, reason: fault.reason, code: fault.code || undefined };
    if (this.#health === "down") return this.#logger.debug(`${this.#what} still cannot be published`, fields);
    this.#health = "down";
    this.#logger.warn(`${this.#what} cannot be published, retrying`, fields);
  }

  get #what(): string {
    return this.#sources.map(({ what }) => what).join(" and ");
  }

  get #queued(): number {
    return this.#sources.reduce((sum, { size }) => sum + size, 0);
  }

  /** RETRY_MIN_MS doubling to RETRY_MAX_MS, less up to half at random, so that ingresses do not return all at once. */
  #retryDelayMs(): number {
    const longest = Math.min(RETRY_MAX_MS, RETRY_MIN_MS * 2 ** Math.min(this.#failuresInARow - 1, 10));
    return longest * (0.5 + Math.random() / 2);
  }
}
