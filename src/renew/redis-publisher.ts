import type { Clock } from "../clock.ts";
import type { Logger } from "../log/logger.ts";
import type { SandboxRecord } from "../sandbox/provider.ts";
import { ActivitySource, type ActivityStats } from "./activity-source.ts";
import { IntentSource } from "./intent-source.ts";
import type { RenewPublisher, SandboxUse } from "./publisher.ts";
import { RedisSender } from "./redis-sender.ts";
import type { ActivityConfig, RenewConfig } from "./renew-config.ts";

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
  /** All zero where renewing is off. */
  stats(): RenewStats;
  /** Undefined: nothing is told of activity. */
  activity(): ActivityStats | undefined;
}

export interface RedisPublisherOptions {
  readonly config: RenewConfig;
  /** Default: nothing is told of activity. */
  readonly activity?: ActivityConfig;
  readonly logger: Logger;
  readonly clock: Clock;
}

/**
 * Tells of uses through Redis: renew intents and notes of activity, each with a queue of its own. They share a connection where
 * their DSNs are equal.
 *
 * Throws an Error (never showing the DSN) when a DSN cannot be parsed; where a file has it, `start` rejects with that.
 */
export function createRedisPublisher(options: RedisPublisherOptions): RedisPublisher {
  return new Publisher(options);
}

const NO_STATS: RenewStats = { published: 0, dropped: 0, throttled: 0, failed: 0, queued: 0, healthy: false };

/** A queue, and what sends it. */
interface Lane<Source> {
  readonly source: Source;
  readonly sender: RedisSender;
}

class Publisher implements RedisPublisher {
  readonly listens: boolean;
  readonly #intents: Lane<IntentSource> | undefined;
  readonly #activity: Lane<ActivitySource> | undefined;
  readonly #senders: ReadonlySet<RedisSender>;

  constructor({ config, activity, logger, clock }: RedisPublisherOptions) {
    const parts = { logger, clock };
    const intents = config.enabled ? new IntentSource(config, clock) : undefined;
    const notes = activity?.enabled === true ? new ActivitySource(activity, parts) : undefined;
    const isShared = config.redisDsnFile === undefined && config.redisDsn === activity?.redisDsn;
    // Intents come first: a sandbox that is not renewed ends.
    const sources = [intents, isShared ? notes : undefined].filter((source) => source !== undefined);
    const sender = sources.length === 0 ? undefined : new RedisSender(config, sources, parts);
    if (intents !== undefined && sender !== undefined) this.#intents = { source: intents, sender };
    if (notes !== undefined) {
      const address = { ...config, redisDsn: activity?.redisDsn ?? "", redisDsnFile: undefined };
      const own = isShared && sender !== undefined ? sender : new RedisSender(address, [notes], parts);
      this.#activity = { source: notes, sender: own };
    }
    const used = [this.#intents?.sender, this.#activity?.sender];
    this.#senders = new Set(used.filter((candidate) => candidate !== undefined));
    this.listens = this.#senders.size > 0;
  }

  offer(use: SandboxUse): void {
    for (const lane of [this.#intents, this.#activity]) {
      if (lane?.source.offer(use, lane.sender) === true) lane.sender.wake();
    }
  }

  forget(record: SandboxRecord): void {
    this.#intents?.source.forget(record);
    this.#activity?.source.forget(record);
  }

  async start(): Promise<void> {
    await Promise.all([...this.#senders].map((sender) => sender.start()));
  }

  async stop(flushMaxMs: number): Promise<void> {
    await Promise.all([...this.#senders].map((sender) => sender.stop(flushMaxMs)));
  }

  stats(): RenewStats {
    if (this.#intents === undefined) return NO_STATS;
    const { source, sender } = this.#intents;
    return { ...source.stats(), ...sender.stats() };
  }

  activity(): ActivityStats | undefined {
    return this.#activity?.source.stats();
  }
}
