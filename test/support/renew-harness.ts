import { systemClock, type Clock } from "../../src/clock.ts";
import type { RenewConfig } from "../../src/renew/renew-config.ts";
import type { LogFields, Logger } from "../../src/log/logger.ts";
import { createRedisPublisher, type RedisPublisher } from "../../src/renew/redis-publisher.ts";
import type { RedisServer } from "./redis-server.ts";
import { sandboxRecord } from "../../scripts/lib/stage/sandbox-objects.ts";

export const QUEUE_KEY = "opensandbox:renew:intent";

export interface LogLine {
  readonly level: string;
  readonly message: string;
  readonly fields: LogFields;
}

/** A started publisher, its log, and a short way to offer. */
export interface RenewHarness extends AsyncDisposable {
  readonly publisher: RedisPublisher;
  readonly lines: LogLine[];
  /** The lines at info and above, such as `warn refused`, `info`. */
  states(): string[];
  /** Offers one use of the sandbox of that name. */
  use(name: string): void;
}

/** A publisher to a DSN, without a throttle unless `config` sets one. */
export async function startPublisher(
  redisDsn: string,
  config: Partial<RenewConfig> = {},
  options: { clock?: Clock } = {},
): Promise<RenewHarness> {
  const lines: LogLine[] = [];
  const record =
    (level: string) =>
    (message: string, fields: LogFields = {}) =>
      void lines.push({ level, message, fields });
  const logger: Logger = { debug: record("debug"), info: record("info"), warn: record("warn"), error: record("error") };
  const publisher = createRedisPublisher({
    config: {
      enabled: true,
      redisDsn,
      redisDsnFile: undefined,
      redisCaFile: undefined,
      queueKey: QUEUE_KEY,
      queueMaxLength: 0,
      minIntervalMs: 0,
      ...config,
    },
    logger,
    clock: options.clock ?? systemClock,
  });
  await publisher.start();
  return {
    publisher,
    lines,
    states: () =>
      lines
        .filter((line) => line.level !== "debug")
        .map(({ level, fields }) => (fields["reason"] === undefined ? level : `${level} ${fields["reason"]}`)),
    use: (name) =>
      publisher.offer({ record: sandboxRecord({ name, uid: `uid of ${name}` }), port: 8080, path: "/x", renews: true }),
    [Symbol.asyncDispose]: () => publisher.stop(0),
  };
}

/** The sandbox ids of the intents in Redis, newest first. */
export async function publishedIds(
  redis: RedisServer,
  options: { key?: string; password?: string; database?: number } = {},
): Promise<string[]> {
  const text = await redis.cli(["lrange", options.key ?? QUEUE_KEY, "0", "-1"], options);
  return Array.from(text.matchAll(/^\{"sandbox_id":"([^"]*)"/gm), ([, id = ""]) => id);
}
