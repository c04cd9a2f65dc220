import { systemClock } from "../src/clock.ts";
import { silentLogger } from "../src/log/logger.ts";
import { createRedisPublisher } from "../src/renew/redis-publisher.ts";
import { noRenewPublisher, type RenewPublisher, type SandboxUse } from "../src/renew/publisher.ts";

// What renewing costs each request: the time of offer(), and the CPU of the whole process, publishing included.
// `REDIS_DSN` names a Redis to publish to; without one, only the offering is measured.

/** What a request costs the ingress without renewing, in microseconds: the cost is shown as a part of it. */
const REQUEST_US = 40;
const SANDBOXES = 10_000;
const ROUNDS = 5;
const OFFERS_PER_ROUND = 2_000_000;
/** Paced, so that the queue never fills and every intent is really published. */
const PUBLISHED_PER_ROUND = 200_000;
const PACE_BATCH = 2_000;

const uses: SandboxUse[] = Array.from({ length: SANDBOXES }, (_, index) => ({
  record: {
    namespace: "opensandbox",
    name: `0a9d5b3e-1c2d-4e5f-8a9b-${index.toString(16).padStart(12, "0")}`,
    uid: `7f1d2c3b-5a69-4788-9b0a-${index.toString(16).padStart(12, "0")}`,
    endpoint: "10.0.0.7",
    ports: undefined,
    ready: true,
    notReady: "",
    accessToken: "",
  },
  port: 8080,
  path: "/api/v1/things",
  renews: true,
}));

function publisherTo(redisDsn: string, minIntervalMs: number) {
  const files = { redisDsnFile: undefined, redisCaFile: undefined };
  const config = { enabled: true, redisDsn, ...files, queueKey: "bench:renew", queueMaxLength: 1000 };
  return createRedisPublisher({ config: { ...config, minIntervalMs }, logger: silentLogger, clock: systemClock });
}

function report(name: string, costUs: number): void {
  const part = ((100 * costUs) / REQUEST_US).toFixed(2);
  console.log(`${name.padEnd(52)} ${costUs.toFixed(3)} us, ${part} % of a request of ${REQUEST_US} us`);
}

function median(values: number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}

/** The median cost of one offer, in microseconds. */
function timeOffers(publisher: RenewPublisher, sandboxes: number): number {
  const rounds = Array.from({ length: ROUNDS }, () => {
    const startMs = performance.now();
    for (let index = 0; index < OFFERS_PER_ROUND; index += 1) {
      const use = uses[index % sandboxes];
      if (use !== undefined) publisher.offer(use);
    }
    return (1000 * (performance.now() - startMs)) / OFFERS_PER_ROUND;
  });
  return median(rounds);
}

/** The median CPU time, user and system, of one intent from offer to Redis's answer, in microseconds. */
async function timePublishing(redisDsn: string): Promise<number> {
  const publisher = publisherTo(redisDsn, 0);
  await publisher.start();
  const rounds: number[] = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    const before = process.cpuUsage();
    for (let offered = 0; offered < PUBLISHED_PER_ROUND; offered += PACE_BATCH) {
      for (const use of uses.slice(0, PACE_BATCH)) publisher.offer(use);
      while (publisher.stats().queued > 0) await Bun.sleep(1);
    }
    const used = process.cpuUsage(before);
    rounds.push((used.user + used.system) / PUBLISHED_PER_ROUND);
  }
  const { published, dropped, failed } = publisher.stats();
  console.log(`(published ${published}, dropped ${dropped}, failed ${failed})`);
  await publisher.stop(5_000);
  return median(rounds);
}

report("offer(), renewing off", timeOffers(noRenewPublisher, SANDBOXES));
report("offer(), throttled, one sandbox", timeOffers(publisherTo("redis://", 3_600_000), 1));
report("offer(), throttled, 10,000 sandboxes", timeOffers(publisherTo("redis://", 3_600_000), SANDBOXES));
report("offer(), interval 0, queue full", timeOffers(publisherTo("redis://", 0), SANDBOXES));
const redisDsn = process.env["REDIS_DSN"];
if (redisDsn !== undefined) report("CPU of an intent from offer to answer, interval 0", await timePublishing(redisDsn));
