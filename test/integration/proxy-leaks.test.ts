import { expect, test } from "bun:test";

import { eventually } from "../../scripts/lib/eventually.ts";
import {
  type Misbehaviour,
  type SandboxRequest,
  startHostileSandbox,
} from "../../scripts/lib/leaks/hostile-sandbox.ts";
import { LeakMix } from "../../scripts/lib/leaks/leak-mix.ts";
import { MISBEHAVIOURS } from "../../scripts/lib/leaks/misbehaviours.ts";
import { createRandom } from "../../scripts/lib/stage/random.ts";
import { UPSTREAM_FAULTS } from "../support/fault-upstreams.ts";
import { type LeakProxy, startLeakProxy } from "../support/leak-proxy.ts";

/** The seed of the mix. `LEAK_SEED` sets it, to repeat a failed run. */
const SEED = Number(process.env["LEAK_SEED"] ?? Math.floor(Math.random() * 2 ** 31));
const CLIENTS = 500;
/** Clients that are open when the drain begins. */
const CLIENTS_AT_DRAIN = 60;
const DRAIN_MS = 1_000;
const TEST_MAX_MS = 240_000;
/** Data may wait for a sandbox that does not read for 30 s; in milliseconds. */
const SETTLE_MAX_MS = 60_000;
/** Objects of a type that may be left, of hundreds. The garbage collector takes some unused objects for used ones. */
const OBJECTS_MAX = 10;

const NOTHING_OPEN = {
  counters: { exchanges: 0, clients: 0, heldBytes: 0, tunnels: 0 },
  gauges: { opensandbox_ingress_http_request_active: 0, opensandbox_ingress_tunnel_active: 0 },
  faults: [],
};

const misbehaviours: readonly Misbehaviour[] = [
  ...MISBEHAVIOURS,
  ...UPSTREAM_FAULTS.map(({ name, answer }) => ({
    name,
    act: (...[socket, request]: Parameters<Misbehaviour["act"]>): void => {
      if (typeof answer === "string") socket.write(answer, "latin1");
      else answer(socket, { ...request, body: "" });
    },
  })),
];

async function expectNothingOpen(proxy: LeakProxy): Promise<void> {
  await eventually(
    async () => {
      const { counters, gauges, faults } = await proxy.look();
      expect({ counters, gauges, faults }).toEqual(NOTHING_OPEN);
    },
    { maxMs: SETTLE_MAX_MS },
  );
}

async function expectSockets(proxy: LeakProxy, sockets: number): Promise<void> {
  await eventually(() => expect(proxy.sockets()).toBe(sockets), { maxMs: SETTLE_MAX_MS });
}

/** Small limits, so that all of them strike; or no limits, so that nothing else ends what a client has left. */
function chooseLimits(seed: number): Parameters<typeof startLeakProxy>[0] {
  const random = createRandom(seed);
  return {
    connectTimeoutMs: random.pick([500, 1_000]),
    responseTimeoutMs: random.pick([0, 700, 1_500]),
    streamIdleTimeoutMs: random.pick([0, 700, 1_500]),
    clientIdleTimeoutMs: random.pick([0, 700, 1_500]),
    streamEarlyNewline: random.pick([false, true]),
    maxRequests: random.pick([40, 10_000]),
    maxRequestsPerSandbox: random.pick([12, 1_000]),
    maxBodyBytes: random.pick([0, 1024 * 1024]),
    budgetBytes: random.pick([4, 16, 1_024]) * 1024 * 1024,
    websocketMaxMessageBytes: 1024 * 1024,
    websocketFrameRate: random.pick([100, 4_000]),
  };
}

/** Knows all clients, and which of their requests have come to a sandbox. */
function createJournal() {
  const names = new Map<string, string>();
  const arrived = new Set<string>();
  return {
    onClient: (requestId: string, name: string): void => void names.set(requestId, name),
    onRequest: ({ headerLines }: SandboxRequest): void => {
      const line = headerLines.find((header) => /^x-request-id:/i.test(header)) ?? "";
      arrived.add(line.slice(line.indexOf(":") + 1).trim());
    },
    /** The clients whose requests have come to a sandbox and have not ended. */
    async listOpen(proxy: LeakProxy): Promise<string> {
      const ended = new Set(await proxy.ended());
      const open = [...arrived].filter((requestId) => !ended.has(requestId));
      return open.map((requestId) => names.get(requestId) ?? requestId).join("; ");
    },
  };
}

async function runMix(mix: LeakMix, proxy: LeakProxy): Promise<void> {
  const atStart = proxy.sockets();

  await mix.begin();
  await mix.run((begun) => begun < CLIENTS);
  await mix.leave();
  await expectNothingOpen(proxy);

  await mix.end();
  await expectSockets(proxy, atStart);

  await mix.begin();
  await mix.run((begun) => begun < CLIENTS_AT_DRAIN);
  await proxy.drain(DRAIN_MS);
  await expectNothingOpen(proxy);
  // The listening socket is gone too.
  await expectSockets(proxy, atStart - 1);
  await eventually(async () => expect((await proxy.look()).timers).toBe(0));
  await mix.leave();
  await eventually(async () => {
    const left = Object.entries(await proxy.objects()).filter(([, count]) => count > OBJECTS_MAX);
    expect(left).toEqual([]);
  });
}

test(
  "createProxyServer leaves nothing open, whatever rude clients and hostile sandboxes do (seeded)",
  async () => {
    const journal = createJournal();
    await using proxy = await startLeakProxy(chooseLimits(SEED));
    await using sandbox = await startHostileSandbox(misbehaviours, journal.onRequest);
    const mix = new LeakMix({
      target: proxy,
      random: createRandom(SEED),
      misbehaviours,
      sandboxPort: sandbox.port,
      endpoints: ["127.0.0.1", "127.0.0.2", "sandbox.localhost"],
      onClient: journal.onClient,
    });
    try {
      await runMix(mix, proxy);
      expect(sandbox.requests).toBeGreaterThan(CLIENTS / 3);
    } catch (error) {
      const open = await journal.listOpen(proxy);
      throw new Error(`LEAK_SEED=${SEED} repeats the mix. Open: ${open}`, { cause: error });
    }
  },
  TEST_MAX_MS,
);
