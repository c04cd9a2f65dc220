import { createAccessChecker } from "../../../src/access/checker.ts";
import { parseAccessKeys } from "../../../src/access/keys.ts";
import { FailureLimiter } from "../../../src/access/failure-limiter.ts";
import { parseAddressSet } from "../../../src/address.ts";
import { type Clock, systemClock } from "../../../src/clock.ts";
import { createTcpTable } from "../../../src/host/tcp-table.ts";
import { silentLogger } from "../../../src/log/logger.ts";
import type { AccessEntry } from "../../../src/proxy/report/access-log.ts";
import { noProxyMetrics } from "../../../src/metrics/metrics.ts";
import type { BrowserConfig } from "../../../src/proxy/browser/view.ts";
import type { HoldConfig } from "../../../src/proxy/hold/hold-config.ts";
import { createProxyServer, type ProxyParts, type ProxyServer } from "../../../src/proxy/server.ts";
import type { ProxyConfig } from "../../../src/proxy/proxy-config.ts";
import { noRenewPublisher } from "../../../src/renew/publisher.ts";
import { createTableProvider, type TableProvider } from "./table-provider.ts";

/** A running proxy with records that the test sets. */
export interface ProxyHarness extends AsyncDisposable {
  readonly port: number;
  readonly provider: TableProvider;
  readonly server: ProxyServer;
  /** All entries of the access log. */
  readonly accessLog: readonly AccessEntry[];
}

/** As no flag sets it otherwise. */
export const DEFAULT_BROWSER: BrowserConfig = {
  hostHeader: "upstream",
  originHeader: "preserve",
  uriPrefix: "strip",
  cookieDomain: "drop",
  uriRecovery: "referer",
  corsOrigins: [],
};

/** As no flag sets it otherwise. */
export const DEFAULT_HOLD: HoldConfig = {
  holdMs: 0,
  holdMax: 1_024,
  holdReleaseRate: 100,
  wake: {
    enabled: false,
    parkBudgetMs: 60_000,
    parkMax: 1_024,
    scope: "annotated",
    wakeMax: 32,
    ignoredPaths: new Set(["/favicon.ico", "/robots.txt"]),
  },
};

const DEFAULTS: ProxyConfig = {
  mode: "header",
  host: "127.0.0.1",
  port: 0,
  http2: false,
  trustedProxies: parseAddressSet("none"),
  browser: DEFAULT_BROWSER,
  connectTimeoutMs: 5_000,
  responseTimeoutMs: 0,
  streamIdleTimeoutMs: 0,
  streamEarlyNewline: false,
  clientIdleTimeoutMs: 60_000,
  maxRequests: 10_000,
  maxRequestsPerSandbox: 1_000,
  maxRatePerSandbox: undefined,
  maxBodyBytes: 0,
  budgetBytes: 1024 * 1024 * 1024,
  websocketMaxMessageBytes: 64 * 1024 * 1024,
  websocketFrameRate: 4_000,
  hold: DEFAULT_HOLD,
  networkReadiness: {
    windowMs: 60_000,
    maxTargets: 1_024,
    minAttempts: 20,
    minTargets: 5,
    minSignalTargets: 2,
    failureRatio: 0.2,
  },
};

/**
 * Starts a proxy on a free port. `accessKeys` as `--secure-access-keys` has them; `accessClock` is the one by which
 * failed signatures are forgiven.
 */
export function startProxy(
  config: Partial<ProxyConfig> = {},
  parts: Partial<ProxyParts> & {
    readonly provider?: TableProvider;
    readonly accessKeys?: string;
    readonly accessClock?: Clock;
  } = {},
): ProxyHarness {
  const { provider = createTableProvider(), accessKeys, accessClock = systemClock, ...others } = parts;
  const accessLog: AccessEntry[] = [];
  const keys = accessKeys === undefined ? undefined : parseAccessKeys(accessKeys);
  const tcp = createTcpTable({ clock: systemClock });
  const server = createProxyServer(
    { ...DEFAULTS, ...config },
    {
      clock: systemClock,
      accessLog: { wants: () => true, log: (entry) => void accessLog.push(entry) },
      metrics: noProxyMetrics,
      access: createAccessChecker({
        keys: () => keys,
        failures: new FailureLimiter({ clock: accessClock }),
        clock: accessClock,
      }),
      renew: noRenewPublisher,
      memory: { limitBytes: 0, residentBytes: () => 0, collect: () => {} },
      names: {
        // As Bun resolves such names. No other name exists.
        lookup: (name) =>
          Promise.resolve({ addresses: name.endsWith(".localhost") ? ["127.0.0.1"] : [], unanswered: undefined }),
        judge: () => undefined,
        logger: silentLogger,
      },
      connectionState: (address, port) => tcp.stateOf(address, port),
      openConnections: (address, port) => tcp.openTo(address, port),
      instance: "test",
      ...others,
      provider,
    },
  );
  const port = server.start();
  return { port, provider, server, accessLog, [Symbol.asyncDispose]: () => server.drain(0) };
}
