import { createAdminToken } from "../../src/access/admin-token.ts";
import { createAdminServer } from "../../src/admin/admin-server.ts";
import { createDashboardPages } from "../../src/admin/dashboard-pages.ts";
import { createDebugPages } from "../../src/admin/debug-pages.ts";
import { createAdminGate } from "../../src/admin/gate.ts";
import { SandboxList } from "../../src/admin/sandbox-list.ts";
import { systemClock } from "../../src/clock.ts";
import { silentLogger } from "../../src/log/logger.ts";
import { startProxy } from "../../scripts/lib/stage/proxy-harness.ts";
import { createTestMetrics } from "./metrics.ts";

type StartProxy = Parameters<typeof startProxy>;

/** A proxy with its admin port, both real and on free ports. */
export async function startDebugStage(
  config: StartProxy[0] = {},
  parts: StartProxy[1] & { readonly adminTokenFile?: string } = {},
) {
  const metrics = createTestMetrics();
  const proxy = startProxy(config, { metrics, ...parts });
  const { provider } = proxy;
  const { inspection } = proxy.server;
  const clock = systemClock;
  const startedAtMs = clock.now();
  const sandboxes = new SandboxList({
    provider,
    providerType: "batchsandbox",
    clock,
    trafficOf: (record) => inspection.trafficOf(record),
    waitsOf: (record) => inspection.waitsOf(record),
    syncedAtMs: () => startedAtMs,
  });
  const status = {
    about: { version: "1.2.3", commit: "abc", instance: "test", mode: "header", provider: "batchsandbox", startedAtMs },
    now: () => clock.now(),
    phase: () => "ready" as const,
    checks: () => [],
    activity: () => metrics.activity(),
    inFlight: () => proxy.server.inFlight(),
    residentBytes: () => 1,
    sources: {
      sandboxCounts: () => provider.counts(),
      providerStatus: () => provider.status(),
      waits: () => inspection.waits(),
    },
  };
  const token = createAdminToken({ file: parts.adminTokenFile, logger: silentLogger, clock });
  await token.start();
  const admin = createAdminServer({
    host: "127.0.0.1",
    port: 0,
    metrics,
    checks: () => [],
    gate: createAdminGate({ token, clock, logger: silentLogger }),
    debugPages: createDebugPages({ clock, status, sandboxes, proxy: inspection }),
    operatorPages: createDashboardPages(),
    logger: silentLogger,
  });
  const { port: adminPort } = await admin.start();
  return {
    proxy,
    provider,
    port: proxy.port,
    adminPort,
    /** The answer of a page, parsed; `T` is the page's own type, which clients rely on. */
    async read<T>(path: string): Promise<T> {
      const value: unknown = await (await fetch(`http://127.0.0.1:${adminPort}${path}`)).json();
      // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the test looks at what is there
      return value as T;
    },
    async [Symbol.asyncDispose]() {
      await admin.stop();
      token.stop();
      await proxy.server.drain(0);
      await metrics.stop();
    },
  };
}

export type DebugStage = Awaited<ReturnType<typeof startDebugStage>>;
