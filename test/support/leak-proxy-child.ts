/**
 * Run by a test in a process of its own, so that its descriptors and its faults are its own: a proxy whose records, numbers and
 * drain are the parent's to ask for.
 */
import { parseAddressSet } from "../../src/address.ts";
import { type Clock, systemClock } from "../../src/clock.ts";
import type { ProxyConfig } from "../../src/proxy/proxy-config.ts";
import { startProxy } from "../../scripts/lib/stage/proxy-harness.ts";
import type { LeakCall, LeakLook, LeakReply } from "./leak-proxy.ts";
import { createTestMetrics } from "./metrics.ts";

const faults: string[] = [];
for (const event of ["unhandledRejection", "uncaughtException"] as const) {
  process.on(event, (reason: unknown) => void faults.push(`${event}: ${Bun.inspect(reason)}`));
}

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
const config: Partial<ProxyConfig> = JSON.parse(process.argv[2] ?? "{}");
const proxy = startProxy(
  { ...config, trustedProxies: parseAddressSet("127.0.0.0/8") },
  { clock: countingClock, metrics, tunnelPingIntervalMs: 500 },
);

async function look(): Promise<LeakLook> {
  const gauges: Record<string, number> = {};
  for (const [, name = "", value] of (await metrics.scrape()).matchAll(/^(\w+(?:request|tunnel)_active)(?:\{[^}]*\})? (\S+)/gm)) {
    gauges[name] = Number(value);
  }
  return { counters: { ...proxy.server.counters() }, gauges, timers, faults, logged: proxy.accessLog.length };
}

async function answer(call: LeakCall): Promise<LeakLook | undefined> {
  switch (call.kind) {
    case "set":
      return void proxy.provider.set(call.sandbox);
    case "remove":
      return void proxy.provider.table.remove("default", call.name);
    case "look":
      return look();
    case "drain":
      return void (await proxy.server.drain(call.drainMs));
  }
}

process.on("message", (message: { readonly id: number; readonly call: LeakCall }) => {
  void answer(message.call).then((look) => {
    const reply: LeakReply = { id: message.id, look };
    process.send?.(reply);
  });
});
process.send?.({ port: proxy.port });
