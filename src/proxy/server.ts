import type { AccessChecker } from "../access/request.ts";
import { type Clock, sleep, type Timer } from "../clock.ts";
import type { ProxyConfig } from "./proxy-config.ts";
import { IngressError } from "../errors.ts";
import type { DescriptorPressure } from "../host/descriptors.ts";
import type { AccessLogger } from "./report/access-log.ts";
import type { ByteCounts, ProxyMetrics, ProxyType } from "../metrics/metrics.ts";
import type { RenewPublisher } from "../renew/publisher.ts";
import type { SandboxProvider, SandboxWaker } from "../sandbox/provider.ts";
import type { Tracer } from "../traces/tracer.ts";
import { BrowserAnswers } from "./browser/browser-answers.ts";
import { createCorsPolicy } from "./browser/cors.ts";
import { Admission } from "./exchange/admission.ts";
import type { AnswerBodyContext } from "./http/answer-body.ts";
import { createClientAddressResolver } from "./request/client-address.ts";
import { Departures } from "./exchange/departures.ts";
import { createEndpointLocator } from "./upstream/locator.ts";
import { PolicyGate } from "./exchange/policy-gate.ts";
import { ExchangeRegister, type RegisterCounters } from "./exchange/register.ts";
import { type ExplainContext, explainRequest } from "./explain/explain.ts";
import { RequestHandler } from "./handler.ts";
import { createInspection, type ProxyInspection } from "./inspection.ts";
import { Holds } from "./hold/holds.ts";
import { createDoors, type DoorOptions } from "./doors.ts";
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
import { type TlsSettings, toBunTls } from "./tls-settings.ts";
import type { TunnelData } from "./websocket/tunnel.ts";
import { tunnelHandlers } from "./websocket/tunnel-handlers.ts";
import { createTunnels, TUNNEL_PING_INTERVAL_MS } from "./websocket/open-tunnels.ts";
import { NetworkReadiness } from "./upstream/network-readiness.ts";
import { Tallies } from "./upstream/tallies.ts";
import { createUpstreamPool } from "./upstream/upstream.ts";
import { CLIENT_IDLE_SECONDS, type ConnectionState, Watchdog } from "./exchange/watchdog.ts";

/** How often a drain checks whether everything has ended, in milliseconds. */
const DRAIN_POLL_MS = 50;

/** Part of the drain time during which tunnels are closed. The rest is for their clients to answer the last Close. */
const TUNNEL_CLOSE_SHARE = 0.8;

/**
 * Seconds after which Bun ends the connection of an answer that was cut while its client did not read it. It is the
 * shortest time that Bun knows; Bun counts in steps of four seconds.
 */
const CUT_ANSWER_SECONDS = 1;

/**
 * How often memory is checked while it may become short, in milliseconds. At 1 GB/s, 50 MB arrive between two checks.
 */
const TENSE_LOOK_MS = 50;

const CROWDED_WARNING =
  "too many earlier certificates have open connections, ending those of the oldest: certificates change too often";

/** The parts that the proxy uses. */
export interface ProxyParts {
  readonly clock: Clock;
  readonly accessLog: AccessLogger;
  readonly metrics: ProxyMetrics;
  /** Undefined: traces are off, and trace headers pass unchanged. */
  readonly tracer?: Tracer | undefined;
  readonly provider: SandboxProvider;
  readonly access: AccessChecker;
  readonly renew: RenewPublisher;
  /** Undefined: nothing wakes sandboxes. */
  readonly waker?: SandboxWaker | undefined;
  /** Logs what no line of a request can tell. Default: logs nothing. */
  readonly warn?: (message: string) => void;
  readonly memory: ProxyMemory;
  /** How host names of sandboxes are looked up and checked. */
  readonly names: Pick<NameResolverOptions, "lookup" | "judge" | "logger">;
  /** The state of connections to an address and port, as the kernel reports it. Never rejects. */
  connectionState(address: string, port: number): Promise<ConnectionState>;
  /**
   * This process's open connections to an address and port, as numbers that do not change while a connection lives.
   * Undefined: the kernel does not tell. Never rejects.
   */
  openConnections(address: string, port: number): Promise<ReadonlySet<number> | undefined>;
  /** Silence after which a side of a tunnel gets a ping, in milliseconds. Default: `TUNNEL_PING_INTERVAL_MS`. */
  readonly tunnelPingIntervalMs?: number;
  /** Part of the request ids of this process. */
  readonly instance: string;
}

/** The memory that the proxy may use. */
export interface ProxyMemory {
  /** Memory that the process may use in total, in bytes; 0: unknown. */
  readonly limitBytes: number;
  /** Resident memory in bytes; undefined: it cannot be read now. */
  residentBytes(): number | undefined;
  /** Collects garbage and gives memory back to the system. */
  collect(): void;
}

/** The server on the traffic ports. */
export interface ProxyServer {
  /** Listens on `host`; default: the host of the configuration. Returns the port. Throws if the port is taken. */
  start(host?: string): number;
  /** Listens with TLS, too, on another port, and returns it. Throws if the port is taken or the pair cannot be used. */
  startTls(place: { readonly host: string; readonly port: number }, settings: TlsSettings): number;
  /**
   * Uses another pair for connections from now on. Idle connections of the earlier one are closed, open requests and
   * tunnels go on. Throws, and changes nothing, if the pair cannot be used.
   */
  renewTls(settings: TlsSettings): void;
  /** From now on answers ask the client to close the connection. Everything is still served. */
  announceDrain(): void;
  /**
   * Stops accepting. Lets open requests end within `drainMs`, closes tunnels spread over that time, and cuts the rest.
   */
  drain(drainMs: number): Promise<void>;
  /** Requests and tunnels in flight. */
  inFlight(): number;
  /**
   * Reacts to the pressure on file descriptors: closes idle connections, refuses new ones, and accepts them again
   * later.
   */
  relieve(pressure: DescriptorPressure): void;
  /** Idle client connections that were closed because descriptors ran short, since the start. */
  idleClosed(): number;
  /** Bytes that open exchanges have moved so far. Reads each exchange. */
  openBytes(): Readonly<Record<ProxyType, ByteCounts>>;
  /** The view for operators. */
  readonly inspection: ProxyInspection;
  /** What is open and held now. All numbers are zero when nothing is open. */
  counters(): RegisterCounters & { readonly tunnels: number };
}

export function createProxyServer(config: ProxyConfig, parts: ProxyParts): ProxyServer {
  const { clock, metrics, provider, renew } = parts;
  let draining = false;
  let pressure: DescriptorPressure = "none";
  let idleClosed = 0;
  let tense: Timer | undefined;
  const closesConnections = (): boolean => draining || pressure !== "none";

  const monotonic = (): number => clock.monotonic();
  const tallies = new Tallies();
  const failures = new FailureList(clock);
  const openConnections = (address: string, port: number) => parts.openConnections(address, port);
  const upstreams = createUpstreamPool({ clock, openConnections, slots: new WatchSlots() }, tallies);
  const register = new ExchangeRegister(new MemoryAccount(config.budgetBytes));
  const departures = new Departures({
    pendingRequests: () => doors.pendingRequests(),
    hasLeft: (request) => !doors.isOpen(request),
    expire: (request) => doors.timeout(request, CUT_ANSWER_SECONDS),
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
    isMemoryShort({ sandbox, client, nowMs }) {
      guard.lookSoon(nowMs);
      return register.memory.isShortFor(sandbox, client);
    },
  });
  const holds = new Holds(config.hold, {
    clock,
    provider,
    upstreams,
    metrics,
    waker: parts.waker,
    warn: (message) => parts.warn?.(message),
  });
  const tunnels = createTunnels(
    { frameRate: config.websocketFrameRate, pingIntervalMs: parts.tunnelPingIntervalMs ?? TUNNEL_PING_INTERVAL_MS },
    { clock, onOpened: () => metrics.tunnelOpened(), onClosed: () => metrics.tunnelClosed() },
  );
  const grants = new GrantCheck(register, { access: parts.access, provider, clock });
  const watchdog = new Watchdog(register, config, {
    clock,
    rearm: (request) => doors.timeout(request, CLIENT_IDLE_SECONDS),
    connectionState: (address, port) => parts.connectionState(address, port),
    onSweep(nowMs) {
      departures.sweep();
      guard.look(nowMs);
      upstreams.sweep(nowMs);
      tunnels.sweep(nowMs);
      grants.sweep(nowMs);
      holds.sweep(nowMs);
      networkReadiness?.sweep(nowMs);
    },
  });
  const readinessConfig = config.networkReadiness;
  const networkReadiness =
    readinessConfig === undefined ? undefined : new NetworkReadiness(readinessConfig, clock.monotonic());
  const report = createReport({
    networkReadiness,
    clock,
    metrics,
    accessLog: parts.accessLog,
    failures,
    onActivity(exchange) {
      if (exchange.subject.use !== undefined) renew.offer(exchange.subject.use);
    },
    onCutUnread(exchange) {
      // An answer that Bun had completely is there already.
      if (exchange.state === "streaming") departures.add(exchange);
    },
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
  const unreadBodies = new UnreadBodies(clock);
  const policies = new PolicyGate(config, clock);
  const handler = new RequestHandler({
    ...config,
    ...parts,
    tracer: parts.tracer,
    cors,
    browserAnswers: new BrowserAnswers({ ...parts, mode, uriRecovery: browser.uriRecovery, cors, ensureSynced }),
    resolveClientAddress,
    upstreams,
    register,
    admission,
    policies,
    holds,
    networkReadiness,
    observer: report,
    report,
    takeRequestId: createRequestIds(parts.instance),
    unreadBodies,
    forward: { requestBody, answerBody, clock, locator, unreadBodies, closesConnections },
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
    policies,
    ensureSynced,
    locate: (hostPort) => locator.locateHostPort(hostPort),
    limits: {
      ...config,
      admission,
      holds,
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
    if (provider.view.find(record.namespace, record.name)?.uid !== record.uid) {
      tallies.forget(record);
      policies.forget(record);
    }
    renew.forget(record);
  });

  /** Requests that wait are refused at once, so that their clients try another replica. */
  const endHolds = (): void => {
    holds.close();
    for (const exchange of register) if (exchange.state === "held") exchange.cut(new IngressError("draining"));
  };

  const serve = ({ host, port, door, sharesPort, tls }: DoorOptions) =>
    Bun.serve<TunnelData>({
      hostname: host,
      port,
      ...(tls === undefined ? {} : { tls: toBunTls(tls) }),
      http2: config.http2,
      // The handler limits sizes and times itself, with answers that say so.
      maxRequestBodySize: Number.MAX_SAFE_INTEGER,
      idleTimeout: CLIENT_IDLE_SECONDS,
      development: false,
      // By default Bun shares the port, and a second ingress on the same port would go unnoticed.
      reusePort: sharesPort,
      fetch: (request, server) => handler.handle(request, server, door),
      websocket: tunnelHandlers(config.websocketMaxMessageBytes),
    });
  const doors = createDoors(config.port, {
    serve,
    onCrowded: () => parts.warn?.(CROWDED_WARNING),
  });
  let isStarted = false;
  const startLooking = (): void => {
    if (isStarted) return;
    isStarted = true;
    watchdog.start();
    lookWhileTense();
  };

  return {
    start(host = config.host) {
      const port = doors.startPlain(host);
      startLooking();
      return port;
    },
    startTls(place, settings) {
      const port = doors.startTls(place, settings);
      startLooking();
      return port;
    },
    renewTls: (settings) => doors.renewTls(settings),
    relieve(now) {
      pressure = now;
      if (now !== "none") idleClosed += doors.closeIdle();
      if (now === "exhausted") doors.pause();
      else doors.resume();
    },
    idleClosed: () => idleClosed,
    announceDrain() {
      draining = true;
      endHolds();
    },
    async drain(drainMs) {
      draining = true;
      endHolds();
      const deadline = clock.monotonic() + drainMs;
      const stopped = doors.stop();
      void tunnels.closeAll(drainMs * TUNNEL_CLOSE_SHARE);
      while (register.size > 0 && clock.monotonic() < deadline) await sleep(clock, DRAIN_POLL_MS);
      // Answers that Bun holds must still leave its buffers.
      await Promise.race([stopped, sleep(clock, Math.max(0, deadline - clock.monotonic()))]);
      upstreams.close(new IngressError("draining"));
      tunnels.terminateAll();
      names.stop();
      watchdog.stop();
      tense?.cancel();
      await doors.stopNow();
    },
    inFlight: () => register.size,
    openBytes: () => register.bytes(),
    inspection: createInspection({
      clock,
      register,
      failures,
      upstreams,
      tallies,
      holds,
      explain: (asked, peer) => explainRequest(asked, peer, explainContext),
    }),
    counters: () => ({ ...register.counters(), tunnels: tunnels.size }),
  };
}
