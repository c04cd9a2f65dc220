import { createAccessChecker } from "../../src/access/access-checker.ts";
import { parseAccessKeys } from "../../src/access/access-keys.ts";
import { createFailureLimiter } from "../../src/access/failure-limiter.ts";
import { parseAddressSet } from "../../src/address.ts";
import { type Clock, systemClock } from "../../src/clock.ts";
import type { AccessEntry } from "../../src/log.ts";
import { noProxyMetrics } from "../../src/metrics.ts";
import {
  createProxyServer,
  type ProxyConfig,
  type ProxyParts,
  type ProxyServer,
} from "../../src/proxy/proxy-server.ts";
import { noRenewPublisher } from "../../src/renew/renew-publisher.ts";
import { createTableProvider, type TableProvider } from "./table-provider.ts";

/** A running proxy, with records that the test sets. */
export interface ProxyHarness extends AsyncDisposable {
  readonly port: number;
  readonly provider: TableProvider;
  readonly server: ProxyServer;
  /** What the access log was told, all of it. */
  readonly accessLog: readonly AccessEntry[];
}

const DEFAULTS: ProxyConfig = {
  mode: "header",
  host: "127.0.0.1",
  port: 0,
  trustedProxies: parseAddressSet("none"),
  connectTimeoutMs: 5_000,
  responseTimeoutMs: 0,
  streamIdleTimeoutMs: 0,
  maxRequests: 10_000,
  maxRequestsPerSandbox: 1_000,
  maxBodyBytes: 0,
  websocketMaxMessageBytes: 64 * 1024 * 1024,
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
  const server = createProxyServer(
    { ...DEFAULTS, ...config },
    {
      clock: systemClock,
      accessLog: { wants: () => true, log: (entry) => void accessLog.push(entry) },
      metrics: noProxyMetrics,
      access: createAccessChecker({
        keys: () => keys,
        failures: createFailureLimiter({ clock: accessClock }),
        clock: accessClock,
      }),
      renew: noRenewPublisher,
      instance: "test",
      ...others,
      provider,
    },
  );
  const port = server.start();
  return { port, provider, server, accessLog, [Symbol.asyncDispose]: () => server.drain(0) };
}
