import { createAccessChecker } from "./access/access-checker.ts";
import { createFailureLimiter } from "./access/failure-limiter.ts";
import { createAccessKeysSource } from "./access-keys-source.ts";
import { formatUrlHost } from "./address.ts";
import { createAdminServer } from "./admin/admin-server.ts";
import type { HealthCheck } from "./admin/health.ts";
import { type Clock, sleep } from "./clock.ts";
import type { Config } from "./config.ts";
import { createLifecycle, type Lifecycle } from "./lifecycle.ts";
import { createLogger, type Logger, type ProgramLogger } from "./log.ts";
import { createMetrics, type ProcessProbe } from "./metrics.ts";
import { createProxyServer } from "./proxy/proxy-server.ts";
import { createRedisPublisher } from "./renew/redis-publisher.ts";
import { noRenewPublisher } from "./renew/renew-publisher.ts";
import { createManifestProvider } from "./sandbox/manifest-provider.ts";
import type { SandboxProvider } from "./sandbox/provider.ts";
import { buildInfo, formatBuildInfo } from "./version.ts";

/**
 * What is left after the drain for saying good-bye to Redis, in milliseconds; meanwhile the metrics take at most 2 s for
 * theirs, and then the log 1 s. With a shutdown delay of 5 s and a drain of 20 s the whole stop takes at most 28 s;
 * Kubernetes kills after 30.
 */
const FLUSH_MAX_MS = 1_000;

/** Where the world is touched; tests put their own here. */
export interface IngressSeams {
  readonly clock: Clock;
  readonly process: ProcessProbe;
  /** Where the Kubernetes client looks for credentials: KUBECONFIG, HOME and the in-cluster variables. */
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** Part of the request ids of this process; differs between replicas and starts. */
  readonly instance: string;
  /** Default: what the configuration says, on standard output. */
  readonly logger?: ProgramLogger;
  /** Default: manifests or Kubernetes, as the configuration says. */
  readonly provider?: SandboxProvider;
}

/** The program: everything between the process edge and the parts. */
export interface Ingress {
  /**
   * Listens and begins to read sandboxes. Rejects when a port cannot be had or the access keys are bad; what is open
   * then stays so, for the process to end. Once `drain` has been called it opens nothing more, and resolves.
   */
  start(): Promise<IngressPorts>;
  /**
   * Ends in order: not ready but serving for the shutdown delay; then accept nothing, let what is open end within the
   * drain time, cut the rest; flush, and close the admin port last. Idempotent.
   */
  drain(): Promise<void>;
  readonly lifecycle: Lifecycle;
  readonly logger: ProgramLogger;
}

export interface IngressPorts {
  /** 0: not opened, since `drain` was called first. */
  readonly port: number;
  /** 0: the admin server is off, or `drain` was called first. */
  readonly adminPort: number;
}

/** Puts the parts together. Touches neither network nor files before `start`. */
export async function createIngress(config: Config, seams: IngressSeams): Promise<Ingress> {
  const { clock } = seams;
  const logger =
    seams.logger ??
    createLogger({ level: config.logLevel, format: config.logFormat, accessLog: config.accessLog, clock });
  const lifecycle = createLifecycle();
  const metrics = createMetrics({ buildInfo, clock, logger, process: seams.process, otlp: config.otlp });
  const provider = seams.provider ?? (await createProvider(config, { clock, logger, environment: seams.environment }));
  const keys = createAccessKeysSource({
    inline: config.secureAccessKeys,
    file: config.secureAccessKeysFile,
    logger,
    clock,
  });
  const failures = createFailureLimiter({
    clock,
    onSandboxExhausted: ({ sandboxUid, untold }) =>
      logger.warn("signatures of a sandbox are being guessed: new links to it get 429", { uid: sandboxUid, untold }),
  });
  const redis = config.renew.enabled ? createRedisPublisher({ config: config.renew, logger, clock }) : undefined;
  const renew = redis ?? noRenewPublisher;
  const proxy = createProxyServer(config, {
    clock,
    accessLog: logger.accessLog,
    metrics,
    provider,
    access: createAccessChecker({ keys: () => keys.current(), failures, clock, endAtExpiry: config.endAtExpiry }),
    renew,
    instance: seams.instance,
  });
  metrics.observe({
    sandboxCounts: () => provider.counts(),
    providerStatus: () => provider.status(),
    droppedLogLines: () => logger.droppedLines(),
    accessFailures: () => failures.stats(),
    ...(redis === undefined ? {} : { renewIntents: () => redis.stats() }),
  });
  const admin =
    config.adminPort === 0
      ? undefined
      : createAdminServer({
          host: config.adminHost,
          port: config.adminPort,
          metrics,
          checks: () => readinessChecks(lifecycle, provider),
          logger,
        });

  let draining: Promise<void> | undefined;
  const isDraining = (): boolean => draining !== undefined;

  const start = async (): Promise<IngressPorts> => {
    if (isDraining()) return { port: 0, adminPort: 0 };
    logger.info(`OpenSandbox Ingress ${formatBuildInfo()}`);
    for (const warning of config.warnings) logger.warn(warning);
    // The admin port first and last: it tells what the rest is doing.
    const adminPort = (await listen("admin", config, async () => await admin?.start()))?.port ?? 0;
    await keys.start();
    if (isDraining()) return { port: 0, adminPort };
    const port = await listen("traffic", config, () => proxy.start());
    logger.info("listening", { port, adminPort, mode: config.mode, ...describeSource(config) });
    await provider.start();
    await renew.start();
    void announceSync(provider, lifecycle, logger);
    return { port, adminPort };
  };

  const stopParts = async (): Promise<void> => {
    logger.info("draining", { shutdownDelayMs: config.shutdownDelayMs, inFlight: proxy.inFlight() });
    proxy.announceDrain();
    await sleep(clock, config.shutdownDelayMs);
    await proxy.drain(config.drainTimeoutMs);
    keys.stop();
    await Promise.all([provider.stop(), renew.stop(FLUSH_MAX_MS), metrics.stop()]);
    lifecycle.advance("stopped");
    logger.info("stopped");
    await logger.flush();
    await admin?.stop();
  };

  return {
    start,
    drain: () => {
      lifecycle.advance("draining");
      return (draining ??= stopParts());
    },
    lifecycle,
    logger,
  };
}

/** Opens a port. Whatever the system says when that fails, the error names the flags that chose it. */
async function listen<T>(which: "admin" | "traffic", config: Config, open: () => T | Promise<T>): Promise<T> {
  const { host, port, flags } =
    which === "admin"
      ? { host: config.adminHost, port: config.adminPort, flags: "--admin-host, --admin-port" }
      : { host: config.host, port: config.port, flags: "--host, --port" };
  try {
    return await open();
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    const place = `${formatUrlHost(host)}:${port}`;
    throw new Error(`Cannot listen on ${place} (${flags}): ${reason}`, { cause: error });
  }
}

async function createProvider(
  config: Config,
  parts: Pick<IngressSeams, "clock" | "environment"> & { readonly logger: Logger },
): Promise<SandboxProvider> {
  const { providerType, namespaces } = config;
  const { clock, logger, environment } = parts;
  if (config.manifests !== undefined) {
    return createManifestProvider({ path: config.manifests, providerType, namespaces, clock, logger });
  }
  // Loaded only where it is needed: the Kubernetes client is most of the program's code.
  const [{ createKubeClient }, { createKubernetesProvider }] = await Promise.all([
    import("./kube/kube-client.ts"),
    import("./sandbox/kubernetes-provider.ts"),
  ]);
  const { allNamespaces, allowLoopbackEndpoints } = config;
  const client = createKubeClient(
    { kubeconfig: config.kubeconfig, environment },
    { clock, userAgent: `opensandbox-ingress/${buildInfo.version}` },
  );
  return createKubernetesProvider({
    client,
    providerType,
    namespaces,
    allNamespaces,
    allowLoopbackEndpoints,
    logger,
    clock,
  });
}

function describeSource(config: Config): { readonly source: string; readonly provider: string } {
  const provider = config.providerType;
  if (config.manifests !== undefined) return { source: `manifests ${config.manifests}`, provider };
  if (config.allNamespaces) return { source: "all namespaces", provider };
  return { source: `namespaces ${config.namespaces.join(",")}`, provider };
}

function readinessChecks(lifecycle: Lifecycle, provider: SandboxProvider): readonly HealthCheck[] {
  const { synced, fault } = provider.status();
  const isServing = lifecycle.phase === "starting" || lifecycle.phase === "ready";
  return [
    { name: "sandboxes-synced", ok: synced, detail: synced ? "" : (fault ?? "the first list is not complete") },
    { name: "serving", ok: isServing, detail: isServing ? "" : "shutting down" },
  ];
}

/** Milliseconds between two looks at a provider that is not synced; it logs its own faults. */
const SYNC_LOOK_MS = 60_000;

async function announceSync(provider: SandboxProvider, lifecycle: Lifecycle, logger: Logger): Promise<void> {
  while (!(await provider.whenSynced(SYNC_LOOK_MS))) {
    if (lifecycle.phase !== "starting") return;
  }
  const { ready, notReady, ambiguous } = provider.counts();
  if (lifecycle.advance("ready")) logger.info("ready", { sandboxes: ready + notReady + ambiguous, ready });
}
