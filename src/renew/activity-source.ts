import type { Clock } from "../clock.ts";
import type { SandboxRecord } from "../sandbox/provider.ts";
import type { Logger } from "../log/logger.ts";
import type { SandboxUse } from "./publisher.ts";
import type { RedisConnection } from "./redis-client.ts";
import { classifyRedisFault, isRefusal, type RedisFault } from "./redis-fault.ts";
import type { RedisSource } from "./redis-sender.ts";
import type { ActivityConfig } from "./renew-config.ts";
import { createThrottle, type Throttle } from "./throttle.ts";

/** Notes that are sent together at most (docs/contract.md §9). */
const BATCH_MAX_NOTES = 64;

/** Sandboxes whose note waits at most, at about 100 bytes each. Beyond it a note is dropped and counted. */
export const ACTIVITY_QUEUE_MAX_NOTES = 10_000;

const KEY_PREFIX = "opensandbox:activity:";

/** Writes a time where it is later than what is there: replicas write the same keys, and their notes cross. */
const WRITE_IF_LATER =
  "local was = tonumber(redis.call('GET', KEYS[1]) or '')\n" +
  "if was and was >= tonumber(ARGV[1]) then return 0 end\n" +
  "redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])\n" +
  "return 1";

/** What became of the notes since the start, for metrics. */
export interface ActivityStats {
  /** Taken by Redis. */
  readonly written: number;
  /** Given up: the queue was full, Redis refused them, or they were left over at the end. */
  readonly dropped: number;
}

/** The last moment of use of each sandbox, as `opensandbox:activity:{id}` in Redis (docs/contract.md §9). */
export class ActivitySource implements RedisSource {
  readonly what = "Notes of activity";
  readonly batchMax = BATCH_MAX_NOTES;
  readonly #config: ActivityConfig;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #throttle: Throttle;
  /** Id → unix milliseconds: the latest use counts. In the order in which they came. */
  readonly #queue = new Map<string, number>();
  #isRefused = false;
  #written = 0;
  #dropped = 0;

  constructor(config: ActivityConfig, { clock, logger }: { readonly clock: Clock; readonly logger: Logger }) {
    this.#config = config;
    this.#clock = clock;
    this.#logger = logger;
    this.#throttle = createThrottle(clock, config.minIntervalMs);
  }

  get size(): number {
    return this.#queue.size;
  }

  /** Gives whether there is something to send now. `isStopping`: nothing is sent any more. */
  offer({ record }: SandboxUse, { isStopping }: { readonly isStopping: boolean }): boolean {
    if (!this.#throttle.take(record)) return false;
    if (isStopping) this.#dropped += 1;
    else this.#queueNote(record.name, this.#clock.now());
    return !isStopping;
  }

  forget(record: SandboxRecord): void {
    this.#throttle.forget(record);
  }

  stats(): ActivityStats {
    return { written: this.#written, dropped: this.#dropped };
  }

  async send(connection: RedisConnection): Promise<boolean> {
    const batch = [...this.#queue.entries().take(BATCH_MAX_NOTES)];
    for (const [id] of batch) this.#queue.delete(id);
    const { ttlSeconds } = this.#config;
    const results = await Promise.allSettled(
      batch.map(([id, usedAtMs]) =>
        connection.evaluate(WRITE_IF_LATER, KEY_PREFIX + id, [String(usedAtMs), String(ttlSeconds)]),
      ),
    );
    let lost: RedisFault | undefined;
    for (const [index, result] of results.entries()) {
      const [id = "", usedAtMs = 0] = batch[index] ?? [];
      if (result.status === "fulfilled") {
        this.#written += 1;
        this.#isRefused = false;
      } else if (isRefusal(result.reason)) this.#refuse(result.reason);
      else {
        lost = classifyRedisFault(result.reason);
        if (!this.#queue.has(id)) this.#queueNote(id, usedAtMs);
      }
    }
    if (lost !== undefined) throw lost;
    return true;
  }

  giveUp(): void {
    this.#dropped += this.#queue.size;
    this.#queue.clear();
  }

  #queueNote(id: string, usedAtMs: number): void {
    if (this.#queue.size >= ACTIVITY_QUEUE_MAX_NOTES && !this.#queue.has(id)) this.#dropped += 1;
    else this.#queue.set(id, usedAtMs);
  }

  /** The connection is good, and may be that of renew intents. */
  #refuse(reason: unknown): void {
    this.#dropped += 1;
    if (this.#isRefused) return;
    this.#isRefused = true;
    const fault = classifyRedisFault(reason);
    this.#logger.warn("Redis refuses notes of activity, dropping such", { reason: fault.reason, code: fault.code });
  }
}
