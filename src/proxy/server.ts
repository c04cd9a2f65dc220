import type { AccessChecker } from "../access/request.ts";
import { type Clock, sleep, type Timer } from "../clock.ts";
import type { ProxyConfig } from "./proxy-config.ts";
import { IngressError } from "../errors.ts";
import type { DescriptorPressure } from "../host/descriptors.ts";
import type { AccessLogger } from "./report/access-log.ts";
import type { ProxyMetrics } from "../metrics/metrics.ts";
import type { RenewPublisher } from "../renew/publisher.ts";
import type { SandboxProvider } from "../sandbox/provider.ts";
import { BrowserAnswers } from "./browser/browser-answers.ts";
import { createCorsPolicy } from "./browser/cors.ts";
import { Admission } from "./exchange/admission.ts";
import type { AnswerBodyContext } from "./http/answer-body.ts";
import { createClientAddressResolver } from "./request/client-address.ts";
import { Departures } from "./exchange/departures.ts";
import { createEndpointLocator } from "./upstream/locator.ts";
import { ExchangeRegister, type RegisterCounters } from "./exchange/register.ts";
import { type ExplainContext, explainRequest } from "./explain/explain.ts";
import { RequestHandler } from "./handler.ts";
import { createInspection, type ProxyInspection } from "./inspection.ts";
import { createListener } from "./listener.ts";
import { GrantCheck } from "./exchange/grant-check.ts";
import { MemoryAccount } from "./exchange/memory-account.ts";
import { MemoryGuard } from "./exchange/memory-guard.ts";
import { createNameResolver, type NameResolverOptions } from "./upstream/name-resolver.ts";
import { FailureList } from "./report/failure-list.ts";
import { WatchSlots } from "./upstream/idle-proofs.ts";
import { createReport } from "./report/report.ts";
import { createRequestIds } from "./request/request-id.ts";
import { createSyncGate } from "./sync-gate.ts";
import { UnreadBodies } from "./request/unread-body.ts";
import type { TunnelData } from "./websocket/tunnel.ts";
import { tunnelHandlers } from "./websocket/tunnel-handlers.ts";
import { createTunnels, TUNNEL_PING_INTERVAL_MS } from "./websocket/open-tunnels.ts";
import { Tallies } from "./upstream/tallies.ts";
import { createUpstreamPool } from "./upstream/upstream.ts";
import { CLIENT_IDLE_SECONDS, type ConnectionState, Watchdog } from "./exchange/watchdog.ts";

/** How often a drain looks whether everything has ended, in milliseconds. */
const DRAIN_POLL_MS = 50;

/** Part of the drain time over which tunnels are closed; the rest is for their clients to answer the last Close. */
const TUNNEL_CLOSE_SHARE = 0.8;

/**
 * Seconds after which Bun ends the connection of an answer that was cut while its client did not read it. The least that Bun
 * knows; it counts in steps of four.
 */
const CUT_ANSWER_SECONDS = 1;

/** How often memory is looked at while it may become short, in milliseconds: at a gigabyte a second 50 MB come in between. */
const TENSE_LOOK_MS = 50;

/** What the proxy works with. */
export interface ProxyParts {
  readonly clock: Clock;
  readonly accessLog: AccessLogger;
  readonly metrics: ProxyMetrics;
  readonly provider: SandboxProvider;
  readonly access: AccessChecker;
  readonly renew: RenewPublisher;
  readonly memory: ProxyMemory;
  /** How names of sandboxes are looked up and judged. */
  readonly names: Pick<NameResolverOptions, "lookup" | "judge" | "logger">;
  /** What the kernel says of connections to an address and port. Never rejects. */
  connectionState(address: string, port: number): Promise<ConnectionState>;
  /**
   * This process's connections to an address and port that neither side has ended, by numbers that a connection keeps.
   * Undefined: the kernel does not tell. Never rejects.
   */
  openConnections(address: string, port: number): Promise<ReadonlySet<number> | undefined>;
  /** Silence after which a side of a tunnel is asked whether it is there, in milliseconds; default: `TUNNEL_PING_INTERVAL_MS`. */
  readonly tunnelPingIntervalMs?: number;
  /** Part of the request ids of this process. */
  readonly instance: string;
}

/** The memory that the proxy may use. */
export interface ProxyMemory {
  /** What the process may use in all, in bytes; 0: unknown. */
  readonly limitBytes: number;
  /** Undefined: it cannot be read now. */
  residentBytes(): number | undefined;
  /** Collects garbage and gives memory back to the system. */
  collect(): void;
}

/** The server on the traffic port. */
export interface ProxyServer {
  /** Listens, on `host` instead of the configuration's where it is given; gives the port. Throws when that is taken. */
  start(host?: string): number;
  /** From now on answers ask the client to close the connection; everything is still served. */
  announceDrain(): void;
  /** Stops accepting, lets what is open end within `drainMs`, closes tunnels spread over it, and cuts the rest. */
  drain(drainMs: number): Promise<void>;
  /** Requests and tunnels in flight. */
  inFlight(): number;
  /** Acts on the pressure on file descriptors: closes idle connections, refuses new ones, accepts them again. */
  relieve(pressure: DescriptorPressure): void;
  /** Idle client connections closed for lack of descriptors, since the start. */
  idleClosed(): number;
  /** What operators see. */
  readonly inspection: ProxyInspection;
  /** What is open and held now: all zero when nothing is open. */
  counters(): RegisterCounters & { readonly tunnels: number };
}

export function createProxyServer(config: ProxyConfig, parts: ProxyParts): ProxyServer {
  const { clock, metrics, provider, renew } = parts;
  let draining = false;
  let pressure: DescriptorPressure = "none";
  let idleClosed = 0;
  let host = config.host;
  let tense: Timer | undefined;
  const closesConnections = (): boolean => draining || pressure !== "none";

  const monotonic = (): number => clock.monotonic();
  const tallies = new Tallies();
  const failures = new FailureList(clock);
  const openConnections = (address: string, port: number) => parts.openConnections(address, port);
  const upstreams = createUpstreamPool({ clock, openConnections, slots: new WatchSlots() }, tallies);
  const register = new ExchangeRegister(new MemoryAccount(config.budgetBytes));
  const departures = new Departures({
    pendingRequests: () => listener.pendingRequests(),
    hasLeft: (request) => !listener.isOpen(request),
    monotonic,
    afterTurn: (callback) => void setImmediate(callback),
  });
  const guard = new MemoryGuard(register, {
    ...parts.memory,
    residentBytes: () => parts.memory.residentBytes(),
    collect: () => parts.memory.collect(),
  });
  const admission = new Admission(config, {
    register,
    departures,
    isMemoryShort(sandbox, client) {
      guard.lookSoon(clock.monotonic());
      return register.memory.isShortFor(sandbox, client);
    },
  });
  const tunnels = createTunnels(
    { frameRate: config.websocketFrameRate, pingIntervalMs: parts.tunnelPingIntervalMs ?? TUNNEL_PING_INTERVAL_MS },
    { clock, onOpened: () => metrics.tunnelOpened(), onClosed: () => metrics.tunnelClosed() },
  );
  const grants = new GrantCheck(register, { access: parts.access, provider, clock });
  const watchdog = new Watchdog(register, config, {
    clock,
    rearm: (request) => listener.timeout(request, CLIENT_IDLE_SECONDS),
    connectionState: (address, port) => parts.connectionState(address, port),
    onSweep(nowMs) {
      departures.sweep();
      guard.look(nowMs);
      upstreams.sweep(nowMs);
      tunnels.sweep(nowMs);
      grants.sweep(nowMs);
    },
  });
  const report = createReport({
    clock,
    metrics,
    accessLog: parts.accessLog,
    failures,
    onActivity(exchange) {
      if (exchange.subject.use !== undefined) renew.offer(exchange.subject.use);
    },
    onCutWhileLeaving: (exchange) => listener.timeout(exchange.subject.request, CUT_ANSWER_SECONDS),
  });
  const requestBody = { monotonic, maxBodyBytes: config.maxBodyBytes };
  const answerBody: AnswerBodyContext = {
    monotonic,
    departures,
    lookAtMemory: () => guard.lookSoon(clock.monotonic()),
    after: (delayMs, fire) => clock.setTimer(delayMs, fire),
    streamEarlyNewline: config.streamEarlyNewline,
  };
  const names = createNameResolver({
    ...parts.names,
    clock,
    connectTimeoutMs: config.connectTimeoutMs,
    isInUse: (name) => upstreams.isEndpointInUse(name),
    onAddressGone: (name) => upstreams.endEndpoint(name),
  });
  const locator = createEndpointLocator(names);
  const resolveClientAddress = createClientAddressResolver(config.trustedProxies);
  const ensureSynced = createSyncGate(provider);
  const cors = createCorsPolicy(config.browser.corsOrigins);
  const { mode, browser } = config;
  const handler = new RequestHandler({
    ...config,
    ...parts,
    cors,
    browserAnswers: new BrowserAnswers({ ...parts, mode, uriRecovery: browser.uriRecovery, cors, ensureSynced }),
    resolveClientAddress,
    upstreams,
    register,
    admission,
    observer: report,
    report,
    takeRequestId: createRequestIds(parts.instance),
    unreadBodies: new UnreadBodies(clock),
    forward: { requestBody, answerBody, clock, locator, closesConnections },
    websocket: {
      answerBody,
      clock,
      metrics,
      locator,
      tunnels,
      maxMessageBytes: config.websocketMaxMessageBytes,
      closesConnections,
    },
    closesConnections,
    ensureSynced,
  });
  const explainContext: ExplainContext = {
    ...config,
    ...parts,
    resolveClientAddress,
    ensureSynced,
    locate: (hostPort) => locator.locateHostPort(hostPort),
    limits: {
      ...config,
      admission,
      shareOf: ({ uid }) => upstreams.find(uid)?.share,
      open: () => register.size,
    },
  };
  const lookWhileTense = (): void => {
    tense = clock.setTimer(TENSE_LOOK_MS, () => {
      try {
        const now = clock.monotonic();
        const residentBytes = guard.lookNow(now);
        tunnels.restrain(now, { isShort: guard.isTense, residentBytes });
      } finally {
        lookWhileTense();
      }
    });
  };
  provider.onGenerationEnd((record) => {
    upstreams.endGeneration(record);
    if (provider.view.find(record.namespace, record.name)?.uid !== record.uid) tallies.forget(record);
    renew.forget(record);
  });

  const listener = createListener(config.port, (port) =>
    Bun.serve<TunnelData>({
      hostname: host,
      port,
      // Sizes and times are the handler's business, with answers that say so.
      maxRequestBodySize: Number.MAX_SAFE_INTEGER,
      idleTimeout: CLIENT_IDLE_SECONDS,
      development: false,
      // Without `development` Bun shares the port by default, and a second ingress on it would go unnoticed.
      reusePort: false,
      fetch: (request, server) => handler.handle(request, server),
      websocket: tunnelHandlers(config.websocketMaxMessageBytes),
    }),
  );

  return {
    start(listenOn = config.host) {
      host = listenOn;
      const port = listener.start();
      watchdog.start();
      lookWhileTense();
      return port;
    },
    relieve(now) {
      pressure = now;
      if (now !== "none") idleClosed += listener.closeIdle();
      if (now === "exhausted") listener.pause();
      else if (!listener.isAccepting) listener.resume();
    },
    idleClosed: () => idleClosed,
    announceDrain() {
      draining = true;
    },
    async drain(drainMs) {
      draining = true;
      const deadline = clock.monotonic() + drainMs;
      const stopped = listener.stop();
      void tunnels.closeAll(drainMs * TUNNEL_CLOSE_SHARE);
      while (register.size > 0 && clock.monotonic() < deadline) await sleep(clock, DRAIN_POLL_MS);
      // Answers that are already with Bun still have to leave its buffers.
      await Promise.race([stopped, sleep(clock, Math.max(0, deadline - clock.monotonic()))]);
      upstreams.close(new IngressError("draining"));
      tunnels.terminateAll();
      names.stop();
      watchdog.stop();
      tense?.cancel();
      await listener.stopNow();
    },
    inFlight: () => register.size,
    inspection: createInspection({
      clock,
      register,
      failures,
      upstreams,
      tallies,
      explain: (asked, peer) => explainRequest(asked, peer, explainContext),
    }),
    counters: () => ({ ...register.counters(), tunnels: tunnels.size }),
  };
}
