import { describe, expect, test } from "bun:test";
import { IngressError } from "../../../../src/errors.ts";
import type { NameAnswer } from "../../../../src/proxy/upstream/dns-lookup.ts";
import { LOOKUP_MAX_MS } from "../../../../src/proxy/upstream/lookup-queue.ts";
import {
  ADDRESS_KEPT_MAX_MS,
  createNameResolver,
  LOOKUP_INTERVAL_MS,
  NAME_IDLE_MAX_MS,
  type NameResolverOptions,
  NAMES_MAX,
  RETRY_INTERVAL_MS,
  WAITERS_MAX,
} from "../../../../src/proxy/upstream/name-resolver.ts";
import { endpointRules } from "../../../../scripts/lib/stage/endpoint-rules.ts";
import { createFakeClock } from "../../../../scripts/lib/stage/fake-clock.ts";
import { createRandom } from "../../../../scripts/lib/stage/random.ts";
import { createRecordingLogger } from "../../../../scripts/lib/stage/recording-logger.ts";

const CONNECT_TIMEOUT_MS = 5_000;
const NAME = "sb.ns.svc.cluster.local";

type Dns = readonly string[] | "fails" | "silent" | NameAnswer;

/** A resolver with a stopped clock and a DNS that the test sets. */
function createBench(change: Partial<NameResolverOptions> = {}) {
  const clock = createFakeClock();
  const dns = new Map<string, Dns>();
  const asked: string[] = [];
  const gone: string[] = [];
  const inUse = new Set<string>();
  const logger = createRecordingLogger();
  const resolver = createNameResolver({
    clock,
    lookup: (name) => {
      asked.push(name);
      const answer = dns.get(name) ?? [];
      if (answer === "fails") return Promise.reject(new Error("no server answers"));
      if (answer === "silent") return new Promise(() => {});
      return Promise.resolve("addresses" in answer ? answer : { addresses: answer, unanswered: undefined });
    },
    judge: endpointRules().judge,
    connectTimeoutMs: CONNECT_TIMEOUT_MS,
    isInUse: (name) => inUse.has(name),
    onAddressGone: (name, address) => gone.push(`${name} ${address}`),
    logger,
    ...change,
  });
  /** Moves the clock in steps, so that the follow-up of each look-up happens at its time. */
  async function pass(ms: number): Promise<void> {
    for (let left = ms; left > 0; left -= 50) {
      clock.advance(Math.min(left, 50));
      await turn();
    }
  }
  return { clock, dns, asked, gone, inUse, logger, resolver, pass };
}

const turn = () => new Promise((resolve) => setImmediate(resolve));

async function refusalOf(work: string | Promise<string>): Promise<IngressError> {
  const thrown: unknown = await Promise.resolve(work).then(
    (address) => new Error(`resolved: ${address}`),
    (error: unknown) => error,
  );
  if (thrown instanceof IngressError) return thrown;
  throw thrown;
}

describe("NameResolver.resolve", () => {
  test.each([
    [["10.0.0.7"], "10.0.0.7"],
    [["FD00:0::7"], "fd00::7"],
    [["::ffff:10.0.0.7"], "10.0.0.7"],
    [["127.0.0.1", "fe80::1%eth0", "169.254.169.254", "10.0.0.8", "10.0.0.9"], "10.0.0.8"],
  ])(
    "NameResolver.resolve picks from %j the first address that may be dialled, and later returns it at once",
    async (addresses, expected) => {
      const { dns, resolver } = createBench();
      dns.set(NAME, addresses);
      const first = resolver.resolve(NAME);
      expect(first).toBeInstanceOf(Promise);
      expect(await first).toBe(expected);
      expect(resolver.resolve(NAME)).toBe(expected);
    },
  );

  test.each(["127.0.0.1", "::1", "169.254.169.254", "fd00:ec2::23", "::ffff:127.0.0.1", "0.0.0.0", "2002:7f00:1::1"])(
    "NameResolver.resolve never returns %s, and only the log has the reason",
    async (address) => {
      const { dns, resolver, asked } = createBench();
      dns.set(NAME, [address]);
      for (let count = 0; count < 100; count += 1) {
        const error = await refusalOf(resolver.resolve(NAME));
        expect(error.code).toBe("sandbox_not_ready");
        expect(String(error.cause)).toContain("which a pod cannot have");
        expect(error.message).not.toMatch(/address|\d/);
      }
      expect(asked).toHaveLength(1);
    },
  );

  test("NameResolver.resolve shares one look-up among callers, and retries a new name until it resolves", async () => {
    const { dns, resolver, asked, pass } = createBench();
    const waiting = Array.from({ length: 50 }, () => Promise.resolve(resolver.resolve(NAME)));
    await pass(3 * RETRY_INTERVAL_MS);
    expect(asked.length).toBeWithin(3, 5);
    dns.set(NAME, ["10.0.0.7"]);
    await pass(RETRY_INTERVAL_MS + 50);
    expect(new Set(await Promise.all(waiting))).toEqual(new Set(["10.0.0.7"]));
    expect(resolver.stats()).toEqual({ names: 1, waiting: 0, lookups: 0 });
  });

  test.each<[Dns, string]>([
    [[], "has no address"],
    ["fails", "no server answers"],
    ["silent", `no answer for ${LOOKUP_MAX_MS} ms`],
  ])("NameResolver.resolve refuses a name that is %j after the connect timeout", async (state, cause) => {
    const { dns, resolver, pass } = createBench();
    dns.set(NAME, state);
    const refusal = refusalOf(resolver.resolve(NAME));
    let isOver = false;
    void refusal.then(() => (isOver = true));
    await pass(CONNECT_TIMEOUT_MS - 50);
    expect(isOver).toBe(false);
    await pass(50);
    const error = await refusal;
    expect(error.code).toBe("upstream_unresolved");
    expect(String(error.cause)).toContain(cause);
    expect(resolver.stats().waiting).toBe(0);
  });

  test("NameResolver.resolve frees only the waiter whose signal aborts", async () => {
    const { dns, resolver, pass } = createBench();
    const leaving = new AbortController();
    const stays = resolver.resolve(NAME);
    const leaves = resolver.resolve(NAME, leaving.signal);
    leaving.abort(new Error("the client left"));
    expect(await Promise.resolve(leaves).catch(String)).toContain("the client left");
    const late = resolver.resolve(NAME, leaving.signal);
    expect(await Promise.resolve(late).catch(String)).toContain("the client left");
    expect(resolver.stats().waiting).toBe(1);
    dns.set(NAME, ["10.0.0.7"]);
    await pass(RETRY_INTERVAL_MS + 50);
    expect(await stays).toBe("10.0.0.7");
  });

  test("NameResolver.resolve limits waiters: one name leaves room for others", async () => {
    const { resolver } = createBench();
    const attempts = Array.from({ length: WAITERS_MAX }, () => Promise.resolve(resolver.resolve(NAME)));
    for (const attempt of attempts) attempt.catch(() => {});
    expect(resolver.stats().waiting).toBe(WAITERS_MAX / 2);
    expect((await refusalOf(resolver.resolve(NAME))).code).toBe("upstream_unresolved");
    void Promise.resolve(resolver.resolve("other.ns.svc.cluster.local")).catch(() => {});
    expect(resolver.stats().waiting).toBe(WAITERS_MAX / 2 + 1);
    resolver.stop();
    expect(resolver.stats()).toMatchObject({ names: 0, waiting: 0 });
    await Promise.allSettled(attempts);
  });

  test("NameResolver.stop refuses waiting and later requests, and stops all look-ups", async () => {
    const { resolver, asked, pass } = createBench();
    const waiting = refusalOf(resolver.resolve(NAME));
    resolver.stop();
    resolver.stop();
    expect((await waiting).code).toBe("draining");
    expect((await refusalOf(resolver.resolve(NAME))).code).toBe("draining");
    await pass(10_000);
    expect(asked).toHaveLength(1);
  });
});

describe("NameResolver: names in use", () => {
  test("NameResolver reports within 5 s that the address in use is gone, and returns the new one", async () => {
    const { dns, resolver, gone, pass } = createBench();
    dns.set(NAME, ["10.0.0.7"]);
    await resolver.resolve(NAME);
    dns.set(NAME, ["10.0.0.8"]);
    await pass(LOOKUP_INTERVAL_MS + 50);
    expect(gone).toEqual([`${NAME} 10.0.0.7`]);
    expect(resolver.resolve(NAME)).toBe("10.0.0.8");
    expect(LOOKUP_INTERVAL_MS + LOOKUP_MAX_MS).toBeLessThan(5_000);
  });

  test("NameResolver keeps the address in use while answers contain it, in any order", async () => {
    const { dns, resolver, gone, pass } = createBench();
    dns.set(NAME, ["10.0.0.7"]);
    await resolver.resolve(NAME);
    dns.set(NAME, ["10.0.0.8", "fd00::7", "10.0.0.7"]);
    await pass(3 * LOOKUP_INTERVAL_MS);
    expect(resolver.resolve(NAME)).toBe("10.0.0.7");
    expect(gone).toEqual([]);
  });

  test.each<[Dns]>([["fails"], ["silent"], [[]]])(
    "NameResolver keeps the address for a minute while look-ups return %j, and ends nothing",
    async (state) => {
      const { dns, resolver, gone, pass } = createBench({ isInUse: () => true });
      dns.set(NAME, ["10.0.0.7"]);
      await resolver.resolve(NAME);
      dns.set(NAME, state);
      await pass(ADDRESS_KEPT_MAX_MS - 1_000);
      expect(resolver.resolve(NAME)).toBe("10.0.0.7");
      await pass(1_000);
      const waiting = resolver.resolve(NAME);
      expect(waiting).toBeInstanceOf(Promise);
      const refusal = refusalOf(waiting);
      await pass(CONNECT_TIMEOUT_MS);
      expect((await refusal).code).toBe("upstream_unresolved");
      expect(gone).toEqual([]);
    },
  );

  test("NameResolver ends nothing on an answer that lacks the whole family of the address in use", async () => {
    const { dns, resolver, gone, pass } = createBench();
    dns.set(NAME, ["10.0.0.7", "fd00::7"]);
    await resolver.resolve(NAME);
    dns.set(NAME, { addresses: ["fd00::7"], unanswered: 4 });
    await pass(LOOKUP_INTERVAL_MS + 50);
    expect(gone).toEqual([]);
    dns.set(NAME, { addresses: ["10.0.0.8"], unanswered: 6 });
    await pass(LOOKUP_INTERVAL_MS + 50);
    expect(gone).toEqual([`${NAME} 10.0.0.7`]);
    expect(resolver.resolve(NAME)).toBe("10.0.0.8");
  });

  test("NameResolver ends users of an address that must not be dialled any more", async () => {
    const own = new Set<string>();
    const { judge } = endpointRules({ ownAddresses: () => own });
    const { dns, resolver, gone, pass } = createBench({ judge });
    dns.set(NAME, ["10.0.0.7"]);
    await resolver.resolve(NAME);
    own.add("10.0.0.7");
    await pass(LOOKUP_INTERVAL_MS + 50);
    expect(gone).toEqual([`${NAME} 10.0.0.7`]);
    expect((await refusalOf(resolver.resolve(NAME))).code).toBe("sandbox_not_ready");
  });

  test("NameResolver forgets a name that nobody asked for in a minute, unless exchanges use it", async () => {
    const { dns, resolver, asked, inUse, gone, pass } = createBench();
    dns.set(NAME, ["10.0.0.7"]);
    await resolver.resolve(NAME);
    inUse.add(NAME);
    await pass(2 * NAME_IDLE_MAX_MS);
    expect(resolver.stats().names).toBe(1);
    dns.set(NAME, ["10.0.0.8"]);
    await pass(LOOKUP_INTERVAL_MS + 50);
    expect(gone).toEqual([`${NAME} 10.0.0.7`]);
    inUse.clear();
    await pass(LOOKUP_INTERVAL_MS + 50);
    expect(resolver.stats().names).toBe(0);
    const askedBefore = asked.length;
    await pass(NAME_IDLE_MAX_MS);
    expect(asked).toHaveLength(askedBefore);
  });

  test("NameResolver makes room by forgetting the name unused for longest, and refuses when all are in use", async () => {
    let allInUse = false;
    const { clock, dns, resolver } = createBench({ isInUse: (name) => allInUse || name === "sb-0.ns.svc" });
    const nameOf = (index: number) => `sb-${index}.ns.svc`;
    const attempts: Promise<string>[] = [];
    for (let index = 0; index < NAMES_MAX; index += 1) {
      dns.set(nameOf(index), ["10.0.0.7"]);
      if (index % 1000 === 0) {
        clock.advance(1);
        await turn();
      }
      attempts.push(Promise.resolve(resolver.resolve(nameOf(index))));
    }
    for (let round = 0; resolver.stats().waiting > 0; round += 1) await turn();
    await Promise.all(attempts);
    expect(resolver.stats().names).toBe(NAMES_MAX);
    dns.set("late.ns.svc", ["10.0.0.9"]);
    expect(await resolver.resolve("late.ns.svc")).toBe("10.0.0.9");
    expect(resolver.stats().names).toBe(NAMES_MAX);
    expect(resolver.resolve("sb-0.ns.svc")).toBe("10.0.0.7");
    allInUse = true;
    expect((await refusalOf(resolver.resolve("later.ns.svc"))).code).toBe("upstream_unresolved");
    resolver.stop();
  });

  test("NameResolver goes on when a callback throws, and says so", async () => {
    const { dns, resolver, logger, pass } = createBench({
      onAddressGone: () => {
        throw new Error("broken");
      },
      isInUse: () => {
        throw new Error("broken");
      },
    });
    dns.set(NAME, ["10.0.0.7"]);
    await resolver.resolve(NAME);
    dns.set(NAME, ["10.0.0.8"]);
    await pass(LOOKUP_INTERVAL_MS + 50);
    dns.set(NAME, ["10.0.0.9"]);
    await pass(LOOKUP_INTERVAL_MS + 50);
    expect(resolver.resolve(NAME)).toBe("10.0.0.9");
    expect(logger.find("error", /callback of the name resolver/).length).toBeGreaterThan(0);
  });

  test("NameResolver keeps its promises over random answers, times and waiters", async () => {
    const random = createRandom(14);
    const answers: readonly [Dns, ...Dns[]] = [
      ["10.0.0.7"],
      ["10.0.0.8"],
      ["10.0.0.8", "10.0.0.7"],
      ["127.0.0.1"],
      ["127.0.0.1", "10.0.0.7"],
      [],
      "fails",
      { addresses: ["fd00::7"], unanswered: 4 },
    ];
    const { dns, resolver, gone, pass } = createBench();
    let settled = 0;
    let started = 0;
    const given = new Set<string>();
    for (let step = 0; step < 1_500; step += 1) {
      dns.set(NAME, random.pick(answers));
      const leaving = new AbortController();
      started += 1;
      void Promise.resolve(resolver.resolve(NAME, leaving.signal))
        .then(
          (address) => given.add(address),
          () => {},
        )
        .finally(() => (settled += 1));
      if (random.integer(3) === 0) leaving.abort();
      await pass(50 * random.integer(20));
    }
    await pass(CONNECT_TIMEOUT_MS);
    expect(settled).toBe(started);
    expect([...given].toSorted()).toEqual(["10.0.0.7", "10.0.0.8", "fd00::7"]);
    expect(gone.length).toBeGreaterThan(20);
    await pass(2 * NAME_IDLE_MAX_MS);
    expect(resolver.stats()).toEqual({ names: 0, waiting: 0, lookups: 0 });
  });
});
