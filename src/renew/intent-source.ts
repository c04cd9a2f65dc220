import type { Clock } from "../clock.ts";
import type { SandboxRecord } from "../sandbox/provider.ts";
import { buildIntent, INTENT_MAX_AGE_MS } from "./intent.ts";
import type { SandboxUse } from "./publisher.ts";
import { RenewQueue, type QueuedIntent } from "./queue.ts";
import type { RedisConnection } from "./redis-client.ts";
import type { RedisSource } from "./redis-sender.ts";
import type { RenewConfig } from "./renew-config.ts";
import { createThrottle, type Throttle } from "./throttle.ts";

/** How many intents one LPUSH carries at most; one is in flight at a time, so this bounds what is unanswered (about 64 KB). */
const BATCH_MAX_INTENTS = 256;

/**
 * Renew intents for a Redis list (OSEP-0009): `LPUSH key json…`, then `LTRIM key 0 max-1` when a maximum is set.
 *
 * At least once: an intent leaves the queue when Redis has taken it, and a batch whose answer was lost is sent again. Renewing twice
 * changes nothing, not renewing ends a sandbox that is in use. So an outage costs at most one batch twice.
 */
export class IntentSource implements RedisSource {
  readonly what = "Renew intents";
  readonly batchMax = BATCH_MAX_INTENTS;
  readonly #config: RenewConfig;
  readonly #clock: Clock;
  readonly #throttle: Throttle;
  readonly #queue = new RenewQueue();
  #batch: QueuedIntent[] = [];
  #isOver = false;
  #published = 0;
  #dropped = 0;
  #throttled = 0;

  constructor(config: RenewConfig, clock: Clock) {
    this.#config = config;
    this.#clock = clock;
    this.#throttle = createThrottle(clock, config.minIntervalMs);
  }

  get size(): number {
    return this.#queue.size;
  }

  /** Gives whether there is something to send now. `isStopping`: nothing is sent any more. */
  offer(use: SandboxUse, { isStopping }: { readonly isStopping: boolean }): boolean {
    if (!use.renews) return false;
    if (!this.#throttle.take(use.record)) {
      this.#throttled += 1;
      return false;
    }
    if (isStopping) {
      this.#dropped += 1;
      return false;
    }
    this.#queue.push(buildIntent(use, this.#clock.now()));
    return true;
  }

  forget(record: SandboxRecord): void {
    this.#throttle.forget(record);
  }

  stats() {
    return {
      published: this.#published,
      dropped: this.#dropped + this.#queue.dropped,
      throttled: this.#throttled,
      queued: this.#queue.size + this.#batch.length,
    };
  }

  async send(connection: RedisConnection): Promise<boolean> {
    const { queueKey, queueMaxLength } = this.#config;
    const batch = this.#takeBatch();
    if (batch.length === 0) return false;
    this.#batch = batch;
    const [push, trim] = await Promise.allSettled([
      connection.push(
        queueKey,
        batch.map((intent) => intent.json),
      ),
      queueMaxLength > 0 ? connection.trim(queueKey, queueMaxLength) : undefined,
    ]);
    if (this.#isOver) return true;
    this.#batch = [];
    if (push.status === "rejected") {
      this.#queue.putBack(batch);
      throw push.reason;
    }
    // Published whatever becomes of the cut: to send the batch again would make the list longer still.
    this.#published += batch.length;
    if (trim.status === "rejected") throw trim.reason;
    return true;
  }

  giveUp(): void {
    this.#isOver = true;
    this.#dropped += this.#batch.length + this.#queue.clear();
    this.#batch = [];
  }

  /** The oldest intents that their consumer would still heed. */
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
}
