/**
 * Run by a test in a process of its own, so that its descriptors and its faults are its own: a proxy whose records, numbers and
 * drain are the parent's to ask for.
 */
import { heapStats } from "bun:jsc";

import { parseAddressSet } from "../../src/address.ts";
import { type Clock, systemClock } from "../../src/clock.ts";
import type { ProxyConfig } from "../../src/proxy/proxy-config.ts";
import { type ProxyHarness, startProxy } from "../../scripts/lib/stage/proxy-harness.ts";
import type { LeakCall, LeakLook, LeakReply } from "./leak-proxy.ts";
import { createTestMetrics } from "./metrics.ts";

/** What requests, WebSockets and sandboxes are made of: each of them has one of these at least. */
const COUNTED_TYPES = [
  "AbortController",
  "AbortSignal",
  "FetchSession",
  "Headers",
  "ReadableStream",
  "Request",
  "Response",
  "ServerWebSocket",
  "WebSocket",
] as const;

const faults: string[] = [];
for (const event of ["unhandledRejection", "uncaughtException"] as const) {
  process.on(event, (reason: unknown) => void faults.push(`${event}: ${Bun.inspect(reason)}`));
}

/** Short, so that tunnels of silent sides end within the test, in milliseconds. */
const TUNNEL_PING_INTERVAL_MS = 500;

/** Timers that have been set, and have neither fired nor been cancelled. */
let timers = 0;
const countingClock: Clock = {
  now: () => systemClock.now(),
  monotonic: () => systemClock.monotonic(),
  setTimer(delayMs, fire) {
    let isSet = true;
    timers++;
    const settle = (): void => {
      if (isSet) timers--;
      isSet = false;
    };
    const timer = systemClock.setTimer(delayMs, () => {
      settle();
      fire();
    });
    return {
      cancel() {
        settle();
        timer.cancel();
      },
    };
  },
};

const metrics = createTestMetrics();
async function look(proxy: ProxyHarness): Promise<LeakLook> {
  const gauges: Record<string, number> = {};
  for (const [, name = "", value] of (await metrics.scrape()).matchAll(
    /^(\w+(?:request|tunnel)_active)(?:\{[^}]*\})? (\S+)/gm,
  )) {
    gauges[name] = Number(value);
  }
  const bugs = proxy.accessLog.filter(({ code }) => code === "internal").map((entry) => Bun.inspect(entry));
  return { counters: { ...proxy.server.counters() }, gauges, timers, faults: [...faults, ...bugs] };
}

function countObjects(): Record<string, number> {
  Bun.gc(true);
  const counts = heapStats().objectTypeCounts;
  return Object.fromEntries(COUNTED_TYPES.map((type) => [type, counts[type] ?? 0]));
}

async function answer(proxy: ProxyHarness, call: LeakCall): Promise<Omit<LeakReply, "id">> {
  switch (call.kind) {
    case "set":
      proxy.provider.set(call.sandbox);
      return {};
    case "remove":
      proxy.provider.table.remove("default", call.name);
      return {};
    case "look":
      return { look: await look(proxy) };
    case "objects":
      return { objects: countObjects() };
    case "ended":
      return { ended: proxy.accessLog.map(({ requestId }) => requestId) };
    case "drain":
      await proxy.server.drain(call.drainMs);
      return {};
  }
}

async function reply(proxy: ProxyHarness, id: number, call: LeakCall): Promise<void> {
  process.send?.({ id, ...(await answer(proxy, call)) });
}

process.once("message", (config: Partial<ProxyConfig>) => {
  const proxy = startProxy(
    { ...config, trustedProxies: parseAddressSet("127.0.0.0/8") },
    { clock: countingClock, metrics, tunnelPingIntervalMs: TUNNEL_PING_INTERVAL_MS },
  );
  process.on(
    "message",
    ({ id, call }: { readonly id: number; readonly call: LeakCall }) => void reply(proxy, id, call),
  );
  process.send?.({ port: proxy.port });
});
