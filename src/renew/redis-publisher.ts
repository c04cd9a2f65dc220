import { sleep, type Clock } from "../clock.ts";
import type { RenewConfig } from "./renew-config.ts";
import type { Logger } from "../log/logger.ts";
import type { SandboxRecord } from "../sandbox/provider.ts";
import { buildIntent, INTENT_MAX_AGE_MS } from "./intent.ts";
import { connectRedis, type RedisConnection } from "./redis-client.ts";
import { readRedisDsnFile } from "./redis-dsn-file.ts";
import { parseRedisDsn, type RedisTarget } from "./redis-dsn.ts";
import { classifyRedisFault, type RedisFault } from "./redis-fault.ts";
import type { RenewPublisher, SandboxUse } from "./publisher.ts";
import { RenewQueue, type QueuedIntent } from "./queue.ts";
import { createThrottle, type Throttle } from "./throttle.ts";

/**
 * Maximum number of intents in one LPUSH. Only one LPUSH is in flight at a time, so this bounds the unconfirmed data
 * (about 64 KB).
 */
const BATCH_MAX_INTENTS = 256;
/**
 * How long intents gather before a batch is sent, in milliseconds. Nobody waits for an intent, and one batch costs less
 * than many.
 */
const GATHER_MS = 20;
/** Pause after the first failure, in milliseconds. It doubles up to RETRY_MAX_MS. */
const RETRY_MIN_MS = 100;
/**
 * The longest pause between attempts, in milliseconds. Together with REDIS_DEADLINE_MS it is below the 5 s in which
 * service must resume.
 */
const RETRY_MAX_MS = 2_000;

/** The results of intents since the start, for metrics. */
export interface RenewStats {
  /** Taken by Redis. */
  readonly published: number;
  /** Dropped from a full queue, 300 s old before Redis accepted them, or left over at `stop`. */
  readonly dropped: number;
  /** Uses without an intent, because their sandbox had one within the interval. */
  readonly throttled: number;
  /** Failed attempts to connect or to push a batch. */
  readonly failed: number;
  /** Waiting now, including the batch in flight. */
  readonly queued: number;
  /** Whether the last attempt succeeded. False before the first. */
  readonly healthy: boolean;
}

/** A publisher with statistics. */
export interface RedisPublisher extends RenewPublisher {
  stats(): RenewStats;
}

export interface RedisPublisherOptions {
  readonly config: RenewConfig;
  readonly logger: Logger;
  readonly clock: Clock;
}

/**
 * Publishes renew intents to a Redis list (OSEP-0009): `LPUSH key json…`, then `LTRIM key 0 max-1` if a maximum is set.
 *
 * Delivery is at least once: an intent leaves the queue when Redis has accepted it, and a batch with a lost answer is
 * sent again. A second renewal changes nothing, but a missing renewal ends a sandbox in use. So an outage repeats at
 * most one batch.
 *
 * Every failure has the same treatment: close, wait (100 ms doubling to 2 s, with jitter), connect again, for ever. A
 * new connection also resolves the name again, so it follows a fail-over.
 *
 * Throws an Error that never shows the DSN if the DSN is invalid. If the DSN is in a file, `start` rejects instead.
 */
export function createRedisPublisher(options: RedisPublisherOptions): RedisPublisher {
  return new Publisher(options);
}

class Publisher implements RedisPublisher {
  readonly listens = true;
  readonly #config: RenewConfig;
  readonly #logger: Logger;
  readonly #clock: Clock;
  /** Undefined until `start` has read the DSN's file. */
  #target: RedisTarget | undefined;
  readonly #throttle: Throttle;
  readonly #queue = new RenewQueue();
  /** Aborted when `stop` begins. All waits then end. */
  readonly #stopping = new AbortController();
  #connection: RedisConnection | undefined;
  #batch: QueuedIntent[] = [];
  /** Wakes the loop that waits for an offer. */
  #wake: (() => void) | undefined;
  #running: Promise<void> | undefined;
  #stopped: Promise<void> | undefined;
  #closed = false;
  #health: "unknown" | "up" | "down" = "unknown";
  /** What failed last; undefined after a success. A new connection does not prove that a push will succeed. */
  #failing: "connect" | "push" | undefined;
  #failuresInARow = 0;
  #published = 0;
  #dropped = 0;
  #throttled = 0;
  #failed = 0;

  constructor({ config, logger, clock }: RedisPublisherOptions) {
    this.#config = config;
    this.#logger = logger;
    this.#clock = clock;
    this.#target = config.redisDsnFile === undefined ? parseRedisDsn(config.redisDsn) : undefined;
    this.#throttle = createThrottle(clock, config.minIntervalMs);
  }

  offer(use: SandboxUse): void {
    if (!this.#throttle.take(use.record)) {
      this.#throttled += 1;
      return;
    }
    if (this.#stopping.signal.aborted) {
      this.#dropped += 1;
      return;
    }
    this.#queue.push(buildIntent(use, this.#clock.now()));
    this.#wake?.();
  }

  forget(record: SandboxRecord): void {
    this.#throttle.forget(record);
  }

  async start(): Promise<void> {
    this.#target ??= await readRedisDsnFile(this.#config.redisDsnFile ?? "");
    this.#running ??= this.#run(this.#target);
  }

  stop(flushMaxMs: number): Promise<void> {
    this.#stopped ??= this.#flush(flushMaxMs);
    return this.#stopped;
  }

  stats(): RenewStats {
    return {
      published: this.#published,
      dropped: this.#dropped + this.#queue.dropped,
      throttled: this.#throttled,
      failed: this.#failed,
      queued: this.#queue.size + this.#batch.length,
      healthy: this.#health === "up",
    };
  }

  async #flush(flushMaxMs: number): Promise<void> {
    this.#stopping.abort();
    this.#wake?.();
    const flushed = new AbortController();
    await Promise.race([this.#running, sleep(this.#clock, flushMaxMs, flushed.signal)]);
    flushed.abort();
    this.#closed = true;
    this.#connection?.close();
    this.#dropped += this.#batch.length + this.#queue.clear();
    this.#batch = [];
  }

  /**
   * Connects and publishes, for ever. After `stop` it continues until the queue is empty or an attempt fails. Never
   * rejects.
   */
  async #run(target: RedisTarget): Promise<void> {
    const { signal } = this.#stopping;
    while (!this.#closed) {
      try {
        await this.#connect(target);
        await this.#publish();
      } catch (error) {
        this.#onFailure(classifyRedisFault(error));
        if (signal.aborted) return;
        await sleep(this.#clock, this.#retryDelayMs(), signal);
        continue;
      }
      if (this.#queue.size === 0) {
        if (signal.aborted) return;
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
      if (this.#queue.size < BATCH_MAX_INTENTS) await sleep(this.#clock, GATHER_MS, signal);
    }
  }

  /**
   * Connects unless a connection is open: at first, after a failure, and after the server closed an idle connection.
   */
  async #connect(target: RedisTarget): Promise<void> {
    if (this.#connection?.isOpen() === true) return;
    const failingBefore = this.#failing;
    this.#failing = "connect";
    const connection = await connectRedis(target, { clock: this.#clock, caFile: this.#config.redisCaFile });
    if (this.#closed) return connection.close();
    this.#connection = connection;
    this.#failing = failingBefore;
    if (failingBefore !== "push") this.#onSuccess();
  }

  async #publish(): Promise<void> {
    const { queueKey, queueMaxLength } = this.#config;
    const batch = this.#takeBatch();
    const connection = this.#connection;
    if (batch.length === 0 || connection === undefined) return;
    this.#batch = batch;
    this.#failing = "push";
    const [push, trim] = await Promise.allSettled([
      connection.push(
        queueKey,
        batch.map((intent) => intent.json),
      ),
      queueMaxLength > 0 ? connection.trim(queueKey, queueMaxLength) : undefined,
    ]);
    if (this.#closed) return;
    this.#batch = [];
    if (push.status === "rejected") {
      this.#queue.putBack(batch);
      throw push.reason;
    }
    // The batch counts as published even if the trim fails: sending it again would make the list even longer.
    this.#published += batch.length;
    if (trim.status === "rejected") throw trim.reason;
    this.#onSuccess();
  }

  /** The oldest intents that their consumer would still accept. */
  #takeBatch(): QueuedIntent[] {
    const batch: QueuedIntent[] = [];
    const oldestMs = this.#clock.now() - INTENT_MAX_AGE_MS;
    while (batch.length < BATCH_MAX_INTENTS) {
      const intent = this.#queue.shift();
      if (intent === undefined) break;
      if (intent.observedAtMs <= oldestMs) this.#dropped += 1;
      else batch.push(intent);
    }
    return batch;
  }

  #onSuccess(): void {
    this.#failing = undefined;
    this.#failuresInARow = 0;
    if (this.#health === "up") return;
    const message =
      this.#health === "down" ? "publishing renew intents works again" : "publishing renew intents to Redis";
    this.#health = "up";
    this.#logger.info(message, { redis: this.#target?.label, queued: this.#queue.size });
  }

  /** Logs the first failure as a warning. Further ones are debug lines until publishing works again. */
  #onFailure(fault: RedisFault): void {
    this.#connection?.close();
    this.#connection = undefined;
    if (this.#closed) return;
    this.#failed += 1;
    this.#failuresInARow += 1;
    const fields = { redis: this.#target?.label, reason: fault.reason, code: fault.code || undefined };
    if (this.#health === "down") return this.#logger.debug("still cannot publish renew intents", fields);
    this.#health = "down";
    this.#logger.warn(
      "cannot publish renew intents, retrying: check Redis and the --renew-intent-redis-* flags",
      fields,
    );
  }

  /**
   * RETRY_MIN_MS doubling to RETRY_MAX_MS, less up to half at random, so that replicas do not reconnect at the same
   * time.
   */
  #retryDelayMs(): number {
    const longest = Math.min(RETRY_MAX_MS, RETRY_MIN_MS * 2 ** Math.min(this.#failuresInARow - 1, 10));
    return longest * (0.5 + Math.random() / 2);
  }
}
