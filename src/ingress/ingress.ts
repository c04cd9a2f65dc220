import { createAccessChecker } from "../access/checker.ts";
import { FailureLimiter } from "../access/failure-limiter.ts";
import { createAccessKeysSource } from "../access/keys-file.ts";
import { createAdminToken } from "../access/admin-token.ts";
import { createAdminServer } from "../admin/admin-server.ts";
import { createDashboardPages } from "../admin/dashboard-pages.ts";
import { createDebugPages } from "../admin/debug-pages.ts";
import { createAdminGate } from "../admin/gate.ts";
import { createPacedScrape } from "../admin/paced-scrape.ts";
import { SandboxList } from "../admin/sandbox-list.ts";
import type { StatusParts } from "../admin/status.ts";
import { sleep } from "../clock.ts";
import { type Config, resolveMemoryPlan } from "../config/parse-config.ts";
import { Descriptors } from "../host/descriptors.ts";
import { createListening, type Listen } from "../host/listening.ts";
import { type MemoryLimit, readMemoryLimit, readResidentBytes } from "../host/memory-limit.ts";
import { createTcpTable } from "../host/tcp-table.ts";
import { createFaultLog } from "./fault-log.ts";
import { adminPlace, tlsPlace, tlsSettings, trafficPlace } from "./ports.ts";
import { announceSync, faultCheck, readinessChecks } from "./readiness.ts";
import { describeMemory, describeSource } from "./start-lines.ts";
import { createLifecycle, type Lifecycle } from "../lifecycle.ts";
import { createLogger, type ProgramLogger } from "../log/logger.ts";
import { createMetrics, type MetricsSources, type ProcessProbe } from "../metrics/metrics.ts";
import { createDnsLookup } from "../proxy/upstream/dns-lookup.ts";
import { createAccessLog } from "../proxy/report/access-log.ts";
import { createProxyServer } from "../proxy/server.ts";
import { createRedisPublisher } from "../renew/redis-publisher.ts";
import { noRenewPublisher } from "../renew/publisher.ts";
import { createLimitedWarnings } from "../sandbox/limited-warnings.ts";
import type { SandboxProvider } from "../sandbox/provider.ts";
import { createTracer } from "../traces/tracer.ts";
import { buildEndpointRules, createProvider, type SourceSeams } from "../source.ts";
import { createKeyPairFiles } from "../tls/key-pair-files.ts";
import { buildInfo, formatBuildInfo } from "../version.ts";

/**
 * How long Redis may take to disconnect after the drain, in milliseconds. At the same time metrics and traces take at
 * most 2 s, and then the log at most 1 s. With a shutdown delay of 5 s and a drain of 20 s the whole stop takes at most
 * 28 s. Kubernetes kills after 30 s.
 */
const FLUSH_MAX_MS = 1_000;

/** The program's access to the world. Tests replace it. */
export interface IngressSeams extends SourceSeams {
  readonly process: ProcessProbe;
  /** Part of this process's request ids. Differs between replicas and starts. */
  readonly instance: string;
  /** Default: this process's limit, from the system. */
  readonly memoryLimit?: MemoryLimit;
  /** Default: standard output, as configured. */
  readonly logger?: ProgramLogger;
  /** Default: manifests or Kubernetes, as configured. */
  readonly provider?: SandboxProvider;
}

/** The program: all parts together, without the process edge. */
export interface Ingress {
  /**
   * Opens the ports and starts reading sandboxes. Rejects if a port is not available or a file of secrets is invalid;
   * open ports then stay open until the process ends. After a call of `drain` it opens nothing more and resolves.
   */
  start(): Promise<IngressPorts>;
  /**
   * Stops in order. First the ingress is not ready but still serves, for the shutdown delay. Then it accepts nothing,
   * lets open requests end within the drain time, and cuts the rest. Last it flushes, and closes the admin port.
   * Idempotent.
   */
  drain(): Promise<void>;
  /**
   * Records a fault that belongs to no request: counts it, logs it, and makes the ingress not ready. The caller then
   * drains the ingress and ends the process.
   */
  reportFault(what: string, thrown: unknown): void;
  readonly lifecycle: Lifecycle;
  readonly logger: ProgramLogger;
}

export interface IngressPorts {
  /** 0: not open, because of `--tls-only`, or because `drain` was called first. */
  readonly port: number;
  /** 0: there is no port with TLS, or `drain` was called first. */
  readonly tlsPort: number;
  /** 0: the admin server is off, or `drain` was called first. */
  readonly adminPort: number;
}

/** Builds the program. Uses neither network nor files before `start`. */
export async function createIngress(config: Config, seams: IngressSeams): Promise<Ingress> {
  const { clock } = seams;
  const logger = seams.logger ?? createLogger({ level: config.logLevel, format: config.logFormat, clock });
  const lifecycle = createLifecycle();
  const metrics = createMetrics({ buildInfo, clock, logger, process: seams.process, otlp: config.otlp });
  const tracer =
    config.traces === undefined ? undefined : createTracer({ config: config.traces, buildInfo, clock, logger });
  const endpoints = buildEndpointRules(config, seams);
  const { provider, waker } =
    seams.provider === undefined
      ? await createProvider(config, { ...seams, logger, endpoints })
      : { provider: seams.provider, waker: undefined };
  const keys = createAccessKeysSource({
    inline: config.secureAccessKeys,
    file: config.secureAccessKeysFile,
    logger,
    clock,
  });
  const adminToken = createAdminToken({ file: config.adminTokenFile, logger, clock });
  const failures = new FailureLimiter({
    clock,
    onSandboxExhausted: ({ sandboxUid, untold }) =>
      logger.warn("too many wrong signatures for a sandbox, answering 429 to its new links: somebody may be guessing", {
        uid: sandboxUid,
        untold,
      }),
  });
  const isTold = config.renew.enabled || config.activity.enabled;
  const redis = isTold
    ? createRedisPublisher({ config: config.renew, activity: config.activity, logger, clock })
    : undefined;
  const renew = redis ?? noRenewPublisher;
  const limit = seams.memoryLimit ?? readMemoryLimit();
  const plan = resolveMemoryPlan(config, limit);
  const tcp = createTcpTable({ clock });
  const proxy = createProxyServer(
    { ...config, ...plan },
    {
      clock,
      accessLog: createAccessLog(config.accessLog, { logger, clock }),
      metrics,
      tracer,
      provider,
      access: createAccessChecker({ keys: () => keys.current(), failures, clock, endAtExpiry: config.endAtExpiry }),
      renew,
      waker,
      warn: createLimitedWarnings(logger, clock, (unsaid) => `${unsaid} more warnings about wakes were left out`),
      memory: {
        limitBytes: limit.bytes,
        residentBytes: () => readResidentBytes(),
        collect: () => seams.process.collectGarbage(),
      },
      names: { lookup: createDnsLookup({ ...endpoints, clock }), judge: endpoints.judge, logger },
      connectionState: (address, port) => tcp.stateOf(address, port),
      openConnections: (address, port) => tcp.openTo(address, port),
      instance: seams.instance,
    },
  );
  const keyPair =
    config.tls === undefined
      ? undefined
      : createKeyPairFiles({
          paths: config.tls,
          onPair: (pair) => proxy.renewTls(tlsSettings(config, pair)),
          logger,
          clock,
        });
  const descriptors = new Descriptors({ clock, logger });
  const faults = createFaultLog(logger);
  const sources: MetricsSources = {
    internalFaults: () => faults.count(),
    sandboxCounts: () => provider.counts(),
    namesakes: () => provider.namesakes(),
    waits: () => proxy.inspection.waits(),
    providerStatus: () => provider.status(),
    watching: () => provider.watching?.(),
    openBytes: () => proxy.openBytes(),
    spans: () => tracer?.counts(),
    droppedLogLines: () => logger.droppedLines(),
    memory: () => ({ limit: limit.bytes, budget: plan.budgetBytes, held: proxy.counters().heldBytes }),
    descriptors: () => {
      const stats = descriptors.stats();
      return stats === undefined ? undefined : { ...stats, idleClosed: proxy.idleClosed() };
    },
    accessFailures: () => failures.stats(),
    ...(keyPair === undefined ? {} : { certificate: () => keyPair.stats() }),
    ...(redis === undefined ? {} : { activityNotes: () => redis.activity() }),
    ...(redis === undefined || !config.renew.enabled ? {} : { renewIntents: () => redis.stats() }),
  };
  metrics.observe(sources);
  const checks = () => [...readinessChecks(lifecycle, provider), faultCheck(faults.count())];
  let syncedAtMs: number | undefined;
  const sandboxes = new SandboxList({
    provider,
    providerType: config.providerType,
    clock,
    trafficOf: (record) => proxy.inspection.trafficOf(record),
    waitsOf: (record) => proxy.inspection.waitsOf(record),
    syncedAtMs: () => syncedAtMs,
  });
  const status: StatusParts = {
    about: {
      version: buildInfo.version,
      commit: buildInfo.commit,
      instance: seams.instance,
      mode: config.mode,
      provider: config.providerType,
      startedAtMs: clock.now(),
    },
    now: () => clock.now(),
    phase: () => lifecycle.phase,
    checks,
    activity: () => metrics.activity(),
    inFlight: () => proxy.inFlight(),
    residentBytes: () => readResidentBytes(),
    sources,
  };
  const admin =
    config.adminPort === 0
      ? undefined
      : createAdminServer({
          host: config.adminHost,
          port: config.adminPort,
          metrics: createPacedScrape({ scrape: () => metrics.scrape(), clock }),
          checks,
          gate: createAdminGate({ token: adminToken, clock, logger }),
          debugPages: createDebugPages({ clock, status, sandboxes, proxy: proxy.inspection }),
          operatorPages: createDashboardPages(),
          logger,
        });
  descriptors.onCount((pressure) => {
    admin?.relieve(pressure, clock.monotonic());
    proxy.relieve(pressure);
  });

  let draining: Promise<void> | undefined;
  const isDraining = (): boolean => draining !== undefined;

  const start = async (): Promise<IngressPorts> => {
    if (isDraining()) return { port: 0, tlsPort: 0, adminPort: 0 };
    logger.info(`OpenSandbox Ingress ${formatBuildInfo()}`);
    logger.info("memory", describeMemory(plan, limit));
    for (const warning of [...config.warnings, ...plan.warnings]) logger.warn(warning);
    await adminToken.start();
    // The admin port opens first and closes last, because it reports on the rest.
    const listen = createListening(logger);
    const adminPort = (await listen(adminPlace(config), async (host) => await admin?.start(host)))?.port ?? 0;
    await keys.start();
    await keyPair?.start();
    await renew.start();
    if (isDraining()) return { port: 0, tlsPort: 0, adminPort };
    const tlsPort = await startTls(listen);
    const port = config.tls?.isOnly === true ? 0 : await listen(trafficPlace(config), (host) => proxy.start(host));
    descriptors.start();
    logger.info("listening", {
      port,
      ...(keyPair === undefined ? {} : { tlsPort }),
      adminPort,
      mode: config.mode,
      ...describeSource(config),
    });
    await provider.start();
    void announceSync(provider, lifecycle, logger).then(() => (syncedAtMs = clock.now()));
    return { port, tlsPort, adminPort };
  };

  const startTls = async (listen: Listen): Promise<number> => {
    const pair = keyPair?.current();
    if (config.tls === undefined || pair === undefined) return 0;
    const { port } = config.tls;
    return listen(tlsPlace(config, port), (host) => proxy.startTls({ host, port }, tlsSettings(config, pair)));
  };

  const stopParts = async (): Promise<void> => {
    logger.info("draining", { shutdownDelayMs: config.shutdownDelayMs, inFlight: proxy.inFlight() });
    proxy.announceDrain();
    await sleep(clock, config.shutdownDelayMs);
    await proxy.drain(config.drainTimeoutMs);
    descriptors.stop();
    keys.stop();
    keyPair?.stop();
    adminToken.stop();
    await Promise.all([provider.stop(), renew.stop(FLUSH_MAX_MS), metrics.stop(), tracer?.stop()]);
    lifecycle.advance("stopped");
    logger.info("stopped");
    await logger.flush();
    await admin?.stop();
  };

  return {
    start,
    reportFault: (what, thrown) => faults.report(what, thrown),
    drain: () => {
      lifecycle.advance("draining");
      return (draining ??= stopParts());
    },
    lifecycle,
    logger,
  };
}
