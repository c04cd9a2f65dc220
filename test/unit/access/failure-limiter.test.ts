import { describe, expect, test } from "bun:test";
import {
  type Attempt,
  FailureLimiter,
  EXHAUSTED_WARNING_MS,
  FAILURE_BURST,
  FAILURE_REFILL_MS,
  FAILURE_TABLE_MAX,
  type FailureLimiterOptions,
  SANDBOX_FAILURE_BURST,
  SANDBOX_FAILURE_LEAK_MS,
  type SandboxExhausted,
  SITE_FAILURE_BURST,
  SITE_FAILURE_LEAK_MS,
} from "../../../src/access/failure-limiter.ts";
import { createFakeClock } from "../../../scripts/lib/stage/fake-clock.ts";

const SANDBOX = "uid-1";
const MINUTE_MS = 60_000;

function attemptOf(clientAddress: string, change: Partial<Attempt> = {}): Attempt {
  return { sandboxUid: SANDBOX, clientAddress, peerAddress: clientAddress, ...change };
}

const CLIENT = attemptOf("203.0.113.7");

function create(options: Partial<FailureLimiterOptions> = {}) {
  const clock = createFakeClock();
  return { clock, limiter: new FailureLimiter({ clock, ...options }) };
}

function fail(limiter: FailureLimiter, attempt: Attempt, times: number): void {
  for (let left = times; left > 0; left--) limiter.record(attempt);
}

/** Guesses as often as the limiter lets it, from one of the clients after the other; how many guesses were compared. */
function guessAll(limiter: FailureLimiter, attempts: readonly Attempt[]): number {
  let compared = 0;
  for (const attempt of attempts) {
    if (limiter.throttleOf(attempt) !== undefined) continue;
    limiter.record(attempt);
    compared++;
  }
  return compared;
}

describe("FailureLimiter's budget of a client", () => {
  test("the limiter throttles a client after its burst, and again lets it try once per refill", () => {
    const { clock, limiter } = create();
    fail(limiter, CLIENT, FAILURE_BURST - 1);
    expect(limiter.throttleOf(CLIENT)).toBeUndefined();
    limiter.record(CLIENT);
    expect(limiter.throttleOf(CLIENT)).toBe("client");
    clock.advance(FAILURE_REFILL_MS - 1);
    expect(limiter.throttleOf(CLIENT)).toBe("client");
    clock.advance(1);
    expect(limiter.throttleOf(CLIENT)).toBeUndefined();
    limiter.record(CLIENT);
    expect(limiter.throttleOf(CLIENT)).toBe("client");
  });

  test("the limiter counts each sandbox and each client for itself", () => {
    const { limiter } = create();
    fail(limiter, CLIENT, FAILURE_BURST);
    expect(limiter.throttleOf(CLIENT)).toBe("client");
    expect(limiter.throttleOf({ ...CLIENT, sandboxUid: "uid-2" })).toBeUndefined();
    expect(limiter.throttleOf(attemptOf("203.0.113.8"))).toBeUndefined();
  });

  test.each([
    ["2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff", true],
    ["2001:db8:1:2::1", "2001:db8:1:3::1", false],
    ["2001:db8::1", "2001:db8:0:0:1:2:3:4", true],
    ["2001:db8::1", "2001:db8:0:1::1", false],
    ["::1", "::2", true],
    ["1:2:3:4::", "1:2:3:4:5:6:7:8", true],
    ["::ffff:203.0.113.7", "203.0.113.7", true],
    ["::ffff:203.0.113.7", "::ffff:203.0.113.8", false],
    ["203.0.113.7", "203.0.113.8", false],
    ["", "203.0.113.7", false],
    ["no:address", "other:text", false],
  ])("the limiter takes %p and %p for the same client: %p", (first, second, isSame) => {
    const { limiter } = create();
    const peerAddress = "10.0.0.1";
    fail(limiter, attemptOf(first, { peerAddress }), FAILURE_BURST);
    expect(limiter.throttleOf(attemptOf(second, { peerAddress }))).toBe(isSame ? "client" : undefined);
  });

  test("a peer that names any client uses up no budget that the client has at another peer, or directly", () => {
    const { limiter } = create();
    for (const client of ["203.0.113.7", "2001:db8:1:2::1"]) {
      fail(limiter, attemptOf(client, { peerAddress: "10.9.9.9" }), SITE_FAILURE_BURST);
      expect(limiter.throttleOf(attemptOf(client, { peerAddress: "10.9.9.9" }))).toBe("client");
      expect(limiter.throttleOf(attemptOf(client, { peerAddress: "10.0.0.1" }))).toBeUndefined();
      expect(limiter.throttleOf(attemptOf(client))).toBeUndefined();
    }
  });
});

describe("FailureLimiter's budget of an IPv6 /48", () => {
  const inSite = (each: number) => attemptOf(`2001:db8:1:${each.toString(16)}::1`);

  test("the limiter throttles all networks of a /48 together, and no other", () => {
    const { clock, limiter } = create();
    for (let each = 0; each < SITE_FAILURE_BURST; each++) {
      expect(limiter.throttleOf(inSite(each))).toBeUndefined();
      limiter.record(inSite(each));
    }
    expect(limiter.throttleOf(inSite(0xffff))).toBe("client");
    expect(limiter.throttleOf(attemptOf("2001:db8:2::1"))).toBeUndefined();
    expect(limiter.throttleOf(CLIENT)).toBeUndefined();
    clock.advance(SITE_FAILURE_LEAK_MS);
    expect(limiter.throttleOf(inSite(0xffff))).toBeUndefined();
  });

  test("a whole /48 of 65,536 networks gets its burst and then a hundred guesses a minute", () => {
    const { clock, limiter } = create();
    const networks = Array.from({ length: 65_536 }, (_, each) => inSite(each));
    let compared = guessAll(limiter, networks);
    for (let second = 0; second < 10 * 60; second++) {
      clock.advance(1_000);
      compared += guessAll(limiter, networks.slice((second * 100) % 60_000, ((second * 100) % 60_000) + 100));
    }
    expect(compared).toBeLessThanOrEqual(SITE_FAILURE_BURST + 10 * 100);
    expect(compared).toBeGreaterThan(SITE_FAILURE_BURST + 9 * 100);
  });
});

describe("FailureLimiter's budget of a sandbox", () => {
  /** Clients of which no two share a budget. */
  const strangers = (count: number, at = 0) =>
    Array.from({ length: count }, (_, each) => attemptOf(`2001:${(at + each).toString(16)}::1`));

  test.each([
    ["a /48 each", (each: number) => attemptOf(`2a00:${(each >> 16).toString(16)}:${(each & 0xffff).toString(16)}::1`)],
    [
      "any X-Forwarded-For through one peer",
      (each: number) =>
        attemptOf(`203.${(each >> 16) & 255}.${(each >> 8) & 255}.${each & 255}`, { peerAddress: "10.9.9.9" }),
    ],
  ])("clients without number, with %s, get its burst and then ten guesses a second", (_, clientOf) => {
    const { clock, limiter } = create();
    let each = 0;
    const next = (count: number) => Array.from({ length: count }, () => clientOf(each++));
    let compared = guessAll(limiter, next(65_536));
    expect(compared).toBe(SANDBOX_FAILURE_BURST);
    for (let tenth = 0; tenth < 10 * 60; tenth++) {
      clock.advance(100);
      compared += guessAll(limiter, next(30));
    }
    expect(compared).toBe(SANDBOX_FAILURE_BURST + MINUTE_MS / SANDBOX_FAILURE_LEAK_MS);
    expect(limiter.throttleOf(CLIENT)).toBe("sandbox");
    expect(limiter.throttleOf({ ...CLIENT, sandboxUid: "uid-2" })).toBeUndefined();
  });

  test("a sandbox is free again after a quiet time", () => {
    const { clock, limiter } = create();
    guessAll(limiter, strangers(2_000));
    expect(limiter.stats().exhaustedSandboxes).toBe(1);
    clock.advance(SANDBOX_FAILURE_BURST * SANDBOX_FAILURE_LEAK_MS);
    expect(guessAll(limiter, strangers(2_000))).toBe(SANDBOX_FAILURE_BURST);
  });

  test("one sandbox cannot fill the table of clients", () => {
    const { clock, limiter } = create();
    for (let second = 0; second < 300; second++) {
      guessAll(limiter, strangers(200, second * 200));
      clock.advance(1_000);
    }
    expect(limiter.stats().clients).toBeLessThan(2 * SANDBOX_FAILURE_BURST);
  });

  test("full tables throttle nobody because of others, and guesses still count", () => {
    const { limiter } = create({ maxEntries: 100 });
    for (let each = 0; each < 20_000; each++) {
      limiter.record(attemptOf(`2001:${(each & 0xfff).toString(16)}::1`, { sandboxUid: `uid-${each % 1_000}` }));
    }
    const { clients, sites, sandboxes, failures } = limiter.stats();
    expect([clients, sites, sandboxes, failures]).toEqual([100, 100, 100, 20_000]);
    for (let each = 0; each < 1_000; each++) {
      expect(limiter.throttleOf({ ...CLIENT, sandboxUid: `uid-${each}` })).toBeUndefined();
    }
    const mine = { ...CLIENT, sandboxUid: "mine" };
    fail(limiter, mine, FAILURE_BURST);
    expect(limiter.throttleOf(mine)).toBe("client");
  });

  test("the tables are bounded by default", () => {
    const { limiter } = create();
    for (let each = 0; each < FAILURE_TABLE_MAX + 1_000; each++) {
      limiter.record({ ...CLIENT, sandboxUid: `uid-${each}` });
    }
    expect(limiter.stats()).toMatchObject({ clients: FAILURE_TABLE_MAX, sandboxes: FAILURE_TABLE_MAX });
  });
});

describe("FailureLimiter's warning", () => {
  test("the limiter reports a sandbox at once, then at most once a minute with the number of unreported ones", () => {
    const events: SandboxExhausted[] = [];
    const { clock, limiter } = create({ onSandboxExhausted: (event) => void events.push(event) });
    const exhaust = (sandboxUid: string, times = SANDBOX_FAILURE_BURST) =>
      fail(limiter, { ...CLIENT, sandboxUid }, times);
    exhaust("uid-1", SANDBOX_FAILURE_BURST - 1);
    expect(events).toEqual([]);
    exhaust("uid-1", 1);
    expect(events).toEqual([{ sandboxUid: "uid-1", untold: 0 }]);
    exhaust("uid-2");
    exhaust("uid-1", 5);
    expect(events).toHaveLength(1);
    clock.advance(EXHAUSTED_WARNING_MS);
    exhaust("uid-3");
    expect(events.slice(1)).toEqual([{ sandboxUid: "uid-3", untold: 6 }]);
  });

  test("a listener that throws changes nothing", () => {
    const { limiter } = create({
      onSandboxExhausted: () => {
        throw new Error("full disk");
      },
    });
    fail(limiter, CLIENT, SANDBOX_FAILURE_BURST);
    expect(limiter.throttleOf(attemptOf("203.0.113.8"))).toBe("sandbox");
  });
});
