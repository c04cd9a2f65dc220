import type { Server } from "bun";

import type { AccessChecker } from "../access/access.ts";
import { type Clock, sleep } from "../clock.ts";
import type { Config } from "../config.ts";
import { IngressError } from "../errors.ts";
import type { AccessLogger } from "../log.ts";
import type { ProxyMetrics } from "../metrics.ts";
import type { RenewPublisher } from "../renew/renew-publisher.ts";
import type { SandboxProvider } from "../sandbox/provider.ts";
import { ArrivalGauge } from "./arrival-gauge.ts";
import { SMALL_BODIES_TOTAL_MAX_BYTES, type BodyContext } from "./body.ts";
import { createBufferBudget } from "./buffer-budget.ts";
import { createClientAddressResolver } from "./client-address.ts";
import { createProxyHandler, createSyncGate } from "./handler.ts";
import { createLimits } from "./limits.ts";
import { createReport } from "./report.ts";
import { createRequestIds } from "./request-id.ts";
import { type ClientSocket, TUNNEL_HIGH_WATER_BYTES, type TunnelData, TUNNELS_TOTAL_MAX_BYTES } from "./tunnel.ts";
import { createTunnels } from "./tunnels.ts";
import { createUpstreamPool } from "./upstream.ts";
import { CLIENT_IDLE_SECONDS, createWatchdog } from "./watchdog.ts";

/** How often a drain looks whether everything has ended, in milliseconds. */
const DRAIN_POLL_MS = 50;

/** Part of the drain time over which tunnels are closed; the rest is for their clients to answer the last Close. */
const TUNNEL_CLOSE_SHARE = 0.8;

/** Flags that the proxy depends on. */
export type ProxyConfig = Pick<
  Config,
  | "mode"
  | "host"
  | "port"
  | "trustedProxies"
  | "connectTimeoutMs"
  | "responseTimeoutMs"
  | "streamIdleTimeoutMs"
  | "maxRequests"
  | "maxRequestsPerSandbox"
  | "maxBodyBytes"
  | "websocketMaxMessageBytes"
>;

/** What the proxy works with. */
export interface ProxyParts {
  readonly clock: Clock;
  readonly accessLog: AccessLogger;
  readonly metrics: ProxyMetrics;
  readonly provider: SandboxProvider;
  readonly access: AccessChecker;
  readonly renew: RenewPublisher;
  /** What may wait in the buffers of all tunnels together, in bytes; default: `TUNNELS_TOTAL_MAX_BYTES`. */
  readonly tunnelsTotalMaxBytes?: number;
  /** Part of the request ids of this process. */
  readonly instance: string;
}

/** The server on the traffic port. */
export interface ProxyServer {
  /** Listens; gives the port. Throws when that is taken. */
  start(): number;
  /** From now on answers ask the client to close the connection; everything is still served. */
  announceDrain(): void;
  /** Stops accepting, lets what is open end within `drainMs`, closes tunnels spread over it, and cuts the rest. */
  drain(drainMs: number): Promise<void>;
  /** Requests and tunnels in flight. */
  inFlight(): number;
}

export function createProxyServer(config: ProxyConfig, parts: ProxyParts): ProxyServer {
  const { clock, metrics, provider, renew } = parts;
  let draining = false;
  let server: Server<TunnelData> | undefined;
  const isDraining = (): boolean => draining;

  const upstreams = createUpstreamPool();
  const limits = createLimits(config);
  const tunnels = createTunnels({ onOpened: () => metrics.tunnelOpened(), onClosed: () => metrics.tunnelClosed() });
  const tunnelBudget = createBufferBudget(
    // One tunnel must be able to carry the largest message, whatever the flag says.
    Math.max(parts.tunnelsTotalMaxBytes ?? TUNNELS_TOTAL_MAX_BYTES, 2 * config.websocketMaxMessageBytes),
  );
  const watchdog = createWatchdog(config, {
    clock,
    rearm: (request) => server?.timeout(request, CLIENT_IDLE_SECONDS),
    onSweep: (nowMs) => upstreams.sweep(nowMs),
  });
  const report = createReport({
    clock,
    metrics,
    accessLog: parts.accessLog,
    onActivity(exchange) {
      if (exchange.subject.use !== undefined) renew.offer(exchange.subject.use);
    },
    onEnd(exchange) {
      limits.leave();
      watchdog.forget(exchange);
    },
  });
  const body: BodyContext = {
    budget: createBufferBudget(SMALL_BODIES_TOTAL_MAX_BYTES),
    gauge: new ArrivalGauge(),
    monotonic: () => clock.monotonic(),
    maxBodyBytes: config.maxBodyBytes,
    timesBodies: config.responseTimeoutMs > 0 || config.streamIdleTimeoutMs > 0,
  };
  const handler = createProxyHandler({
    ...config,
    ...parts,
    resolveClientAddress: createClientAddressResolver(config.trustedProxies),
    upstreams,
    limits,
    watchdog,
    observer: report,
    report,
    takeRequestId: createRequestIds(parts.instance),
    forward: { body, clock, connectTimeoutMs: config.connectTimeoutMs, isDraining },
    websocket: {
      body,
      clock,
      metrics,
      tunnels,
      tunnelBudget,
      maxMessageBytes: config.websocketMaxMessageBytes,
      isDraining,
    },
    isDraining,
    ensureSynced: createSyncGate(provider),
  });
  provider.onGenerationEnd((record) => {
    upstreams.endGeneration(record);
    renew.forget(record);
  });

  return {
    start() {
      server = Bun.serve<TunnelData>({
        hostname: config.host,
        port: config.port,
        // Sizes and times are the handler's business, with answers that say so.
        maxRequestBodySize: Number.MAX_SAFE_INTEGER,
        idleTimeout: CLIENT_IDLE_SECONDS,
        development: false,
        // Without `development` Bun shares the port by default, and a second ingress on it would go unnoticed.
        reusePort: false,
        fetch: handler,
        websocket: tunnelHandlers(config.websocketMaxMessageBytes),
      });
      watchdog.start();
      return server.port ?? config.port;
    },
    announceDrain() {
      draining = true;
    },
    async drain(drainMs) {
      draining = true;
      const deadline = clock.monotonic() + drainMs;
      const stopped = server?.stop() ?? Promise.resolve();
      void tunnels.closeAll(drainMs * TUNNEL_CLOSE_SHARE, clock);
      while (limits.inFlight() > 0 && clock.monotonic() < deadline) await sleep(clock, DRAIN_POLL_MS);
      // Answers that are already with Bun still have to leave its buffers.
      await Promise.race([stopped, sleep(clock, Math.max(0, deadline - clock.monotonic()))]);
      upstreams.close(new IngressError("draining"));
      tunnels.terminateAll();
      watchdog.stop();
      await server?.stop(true);
    },
    inFlight: () => limits.inFlight(),
  };
}

function tunnelHandlers(maxMessageBytes: number): Bun.WebSocketHandler<TunnelData> {
  return {
    // The tunnel's own business: a terminal may be quiet for days.
    idleTimeout: 0,
    sendPings: false,
    perMessageDeflate: false,
    maxPayloadLength: maxMessageBytes,
    // Reached only if the sandbox is not paused in time: one message behind a full buffer must still fit.
    backpressureLimit: maxMessageBytes + TUNNEL_HIGH_WATER_BYTES,
    closeOnBackpressureLimit: true,
    open: (client: ClientSocket) => client.data.tunnel.openClient(client),
    message: (client, data) => client.data.tunnel.fromClient(data),
    ping: (client, data) => client.data.tunnel.pingFromClient(data),
    pong: (client, data) => client.data.tunnel.pongFromClient(data),
    drain: (client) => client.data.tunnel.clientDrained(),
    close: (client, code, reason) => client.data.tunnel.closeFromClient(code, reason),
  };
}
