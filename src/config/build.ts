import { parseAccessKeys } from "../access/keys.ts";
import { parseAddress, parseAddressRanges, parseAddressSet } from "../address.ts";
import { parseClusterDomain } from "./cluster-domain.ts";
import type { Config } from "./config.ts";
import type { ActivityConfig, RenewConfig } from "../renew/renew-config.ts";
import { parseRedisDsn } from "../renew/redis-dsn.ts";
import type { FlagReader } from "./flag-reader.ts";
import { readHold } from "./build-hold.ts";
import { readTls } from "./build-tls.ts";
import { checkNewerFlags, readNetworkReadiness } from "./build-newer.ts";
import type { FlagNameOf } from "./flags.ts";
import { readOtlp } from "./otlp.ts";
import { readTraces } from "./otlp-traces.ts";
import type { Environment } from "./otlp-variables.ts";
import { faultTextOf } from "./text.ts";
import { formatDuration, formatSize } from "./values.ts";
import { parseOrigins } from "../origin.ts";
import { parseRate } from "../quantity.ts";
import { isDnsLabel } from "../values.ts";

/**
 * Kubernetes kills a pod 30 s after SIGTERM, and the charts do not change that. At worst, three of these seconds are
 * needed after the drain: 2 s for a collector that does not answer (Redis gets 1 s of the same time), 1 s for a
 * log that nobody reads.
 */
const SHUTDOWN_MAX_MS = 27_000;
const MS_PER_SECOND = 1_000;
/** Least `--memory-budget`, in bytes. A smaller value cannot hold one small answer, so its unit is probably missing. */
const BUDGET_GIVEN_MIN_BYTES = 1024 * 1024;
/** A reference to an unset variable. Kubernetes leaves it in the argument. */
const UNSET_REFERENCE = /\$\([^()\s]*\)/;

/** Builds the configuration from the flags and the environment. `reader` collects the faults. */
export function buildConfig(reader: FlagReader, env: Environment, hostInfo: string): Config {
  const warnings: string[] = [];
  const manifests = reader.optionalText("manifests");
  const allNamespaces = reader.bool("all-namespaces");
  const mode = reader.choice("mode");
  if (mode === "wildcard") warnings.push("--mode=wildcard is the same as --mode=header");
  checkNewerFlags(reader, warnings);
  if (manifests !== undefined && reader.optionalText("kubeconfig") !== undefined) {
    warnings.push("--kubeconfig is ignored because --manifests is given");
  }
  const config: Config = {
    providerType: reader.choice("provider-type"),
    mode: mode === "uri" ? "uri" : "header",
    namespaces: Object.freeze(allNamespaces ? [] : readNamespaces(reader)),
    allNamespaces,
    manifests,
    kubeconfig: reader.optionalText("kubeconfig"),
    allowLoopbackEndpoints: reader.bool("allow-loopback-endpoints") || manifests !== undefined,
    ...readEndpointLimits(reader, warnings),
    ...readListeners(reader, warnings),
    adminTokenFile: reader.optionalText("admin-token-file"),
    logLevel: reader.choice("log-level"),
    logFormat: reader.choice("log-format"),
    accessLog: reader.choice("access-log"),
    trustedProxies: reader.parse("trusted-proxies", parseAddressSet),
    browser: Object.freeze({
      hostHeader: reader.choice("host-header"),
      originHeader: reader.choice("origin-header"),
      uriPrefix: reader.choice("uri-prefix"),
      cookieDomain: reader.choice("cookie-domain"),
      uriRecovery: reader.choice("uri-recovery"),
      corsOrigins: Object.freeze(reader.parse("cors-origins", parseOrigins)),
    }),
    connectTimeoutMs: reader.duration("connect-timeout"),
    responseTimeoutMs: reader.duration("response-timeout"),
    streamIdleTimeoutMs: reader.duration("stream-idle-timeout"),
    streamEarlyNewline: reader.bool("stream-early-newline"),
    clientIdleTimeoutMs: reader.duration("client-idle-timeout"),
    maxRequests: reader.int("max-requests"),
    maxRequestsPerSandbox: reader.int("max-requests-per-sandbox"),
    maxRatePerSandbox: reader.parse("max-rate-per-sandbox", (text) => (text === "" ? undefined : parseRate(text))),
    maxHeaderBytes: reader.size("max-header-size"),
    maxBodyBytes: reader.size("max-body-size"),
    memoryBudgetBytes: readMemoryBudget(reader),
    websocketMaxMessageBytes: reader.optionalSize("websocket-max-message"),
    websocketFrameRate: reader.int("websocket-frame-rate"),
    hold: readHold(reader, warnings),
    networkReadiness: readNetworkReadiness(reader, warnings),
    ...readStopping(reader, warnings),
    ...readAccessKeys(reader),
    endAtExpiry: reader.bool("end-at-expiry"),
    renew: Object.freeze(readRenew(reader, warnings)),
    activity: Object.freeze(readActivity(reader)),
    otlp: readOtlp(env, warnings, hostInfo),
    traces: readTraces(env, warnings, hostInfo),
    warnings: Object.freeze(warnings),
  };
  return Object.freeze(config);
}

function readEndpointLimits(reader: FlagReader, warnings: string[]): Pick<Config, "endpointRanges" | "clusterDomain"> {
  const endpointRanges = reader.parse("endpoint-ranges", (text) =>
    text === "" ? undefined : parseAddressRanges(text),
  );
  const clusterDomain = reader.parse("cluster-domain", (text) => (text === "" ? undefined : parseClusterDomain(text)));
  const hasLoopback = ["127.0.0.1", "::1"].some((address) => endpointRanges?.has(address) !== false);
  if (reader.bool("allow-loopback-endpoints") && !hasLoopback) {
    warnings.push("--allow-loopback-endpoints has no effect: --endpoint-ranges contains no loopback address");
  }
  return { endpointRanges, clusterDomain };
}

/** Undefined if the budget is derived. */
function readMemoryBudget(reader: FlagReader): number | undefined {
  const bytes = reader.optionalSize("memory-budget") ?? 0;
  if (bytes === 0) return undefined;
  if (bytes < BUDGET_GIVEN_MIN_BYTES) {
    reader.fault("memory-budget", `must be 0 or at least ${formatSize(BUDGET_GIVEN_MIN_BYTES)}`);
  }
  return bytes;
}

function readNamespaces(reader: FlagReader): readonly string[] {
  const text = reader.text("namespace");
  if (text.trim() === "") {
    if (reader.optionalText("manifests") === undefined) {
      reader.faults.push("--namespace: required unless --all-namespaces or --manifests is given");
    }
    return [];
  }
  const names = [...new Set(text.split(",").map((name) => name.trim()))];
  if (!names.every(isDnsLabel)) {
    reader.fault("namespace", "expected namespaces (lower-case letters, digits and -), separated by commas");
  }
  return names;
}

type Listeners = Pick<
  Config,
  "host" | "isDefaultHost" | "port" | "tls" | "http2" | "adminHost" | "isDefaultAdminHost" | "adminPort"
>;

function readListeners(reader: FlagReader, warnings: string[]): Listeners {
  const listeners: Listeners = {
    host: reader.parse("host", parseListenAddress),
    isDefaultHost: !reader.isGiven("host"),
    port: reader.int("port"),
    tls: readTls(reader, warnings),
    http2: reader.bool("http2"),
    adminHost: reader.parse("admin-host", parseListenAddress),
    isDefaultAdminHost: !reader.isGiven("admin-host"),
    adminPort: reader.int("admin-port"),
  };
  const { host, port, tls, adminHost, adminPort } = listeners;
  const overlap = host === adminHost || isWildcard(host) || isWildcard(adminHost);
  const plainPort = tls?.isOnly === true ? 0 : port;
  const tlsPort = tls?.port ?? 0;
  if (plainPort !== 0 && plainPort === adminPort && overlap) {
    reader.faults.push(`--port and --admin-port: both are ${plainPort}`);
  }
  if (tlsPort !== 0 && tlsPort === adminPort && overlap) {
    reader.faults.push(`--tls-port and --admin-port: both are ${tlsPort}`);
  }
  if (tlsPort !== 0 && tlsPort === plainPort) reader.faults.push(`--tls-port and --port: both are ${tlsPort}`);
  return listeners;
}

function parseListenAddress(text: string): string {
  const address = text === "localhost" ? text : parseAddress(text);
  if (address === undefined) throw new Error("expected an IP address or localhost");
  return address;
}

function isWildcard(host: string): boolean {
  return host === "::" || host === "0.0.0.0";
}

function readStopping(reader: FlagReader, warnings: string[]): Pick<Config, "shutdownDelayMs" | "drainTimeoutMs"> {
  const shutdownDelayMs = reader.duration("shutdown-delay");
  const drainTimeoutMs = reader.duration("drain-timeout");
  const totalMs = shutdownDelayMs + drainTimeoutMs;
  if (totalMs > SHUTDOWN_MAX_MS) {
    warnings.push(
      `--shutdown-delay and --drain-timeout: together ${formatDuration(totalMs)}, but Kubernetes kills a pod 30s ` +
        "after SIGTERM: raise its terminationGracePeriodSeconds",
    );
  }
  return { shutdownDelayMs, drainTimeoutMs };
}

function readAccessKeys(reader: FlagReader): Pick<Config, "secureAccessKeys" | "secureAccessKeysFile"> {
  const secureAccessKeys = reader.optionalText("secure-access-keys");
  const secureAccessKeysFile = reader.optionalText("secure-access-keys-file");
  if (secureAccessKeys !== undefined && checkReference(reader, "secure-access-keys")) {
    checkAccessKeys(reader, secureAccessKeys);
  }
  if (secureAccessKeys !== undefined && secureAccessKeysFile !== undefined) {
    reader.faults.push("--secure-access-keys and --secure-access-keys-file: give only one of them");
  }
  return { secureAccessKeys, secureAccessKeysFile };
}

function checkAccessKeys(reader: FlagReader, secureAccessKeys: string): void {
  try {
    parseAccessKeys(secureAccessKeys);
  } catch (error) {
    reader.fault("secure-access-keys", faultTextOf(error));
  }
}

function readRenew(reader: FlagReader, warnings: string[]): RenewConfig {
  const enabled = reader.bool("renew-intent-enabled");
  const { redisDsn, redisDsnFile, mayBeTls } = readRedisDsn(reader, warnings, enabled);
  const redisCaFile = reader.optionalText("renew-intent-redis-ca-file");
  if (redisCaFile !== undefined && !mayBeTls) {
    warnings.push("--renew-intent-redis-ca-file is ignored because --renew-intent-redis-dsn is not rediss://");
  }
  const queueKey = reader.text("renew-intent-queue-key");
  if (queueKey === "") reader.fault("renew-intent-queue-key", "must not be empty");
  return {
    enabled,
    redisDsn,
    redisDsnFile,
    redisCaFile,
    queueKey,
    queueMaxLength: reader.int("renew-intent-queue-max-len"),
    minIntervalMs: reader.int("renew-intent-min-interval") * MS_PER_SECOND,
  };
}

function readActivity(reader: FlagReader): ActivityConfig {
  const enabled = reader.bool("activity-enabled");
  const redisDsn = reader.text("activity-redis-dsn");
  // A chart may always pass the flag, and set its variable only where it is on.
  if (enabled && checkReference(reader, "activity-redis-dsn")) checkRedisDsn(reader, "activity-redis-dsn");
  return {
    enabled,
    redisDsn,
    minIntervalMs: reader.duration("activity-min-interval"),
    ttlSeconds: reader.int("activity-ttl-seconds"),
  };
}

/** Reads where the address of Redis comes from, and whether it can be a server with TLS. */
function readRedisDsn(reader: FlagReader, warnings: string[], enabled: boolean) {
  const redisDsn = reader.text("renew-intent-redis-dsn");
  const redisDsnFile = reader.optionalText("renew-intent-redis-dsn-file");
  if (redisDsnFile !== undefined) {
    if (reader.isGiven("renew-intent-redis-dsn") && redisDsn !== "") {
      reader.faults.push("--renew-intent-redis-dsn and --renew-intent-redis-dsn-file: give only one of them");
    }
    return { redisDsn, redisDsnFile, mayBeTls: true };
  }
  if (!enabled && UNSET_REFERENCE.test(redisDsn)) {
    // A chart always passes the flag, but sets the variable only if renewing is on.
    warnings.push("--renew-intent-redis-dsn is ignored: it contains a literal $(NAME), and renewing is off");
    return { redisDsn: "", redisDsnFile, mayBeTls: false };
  }
  const isChecked = checkReference(reader, "renew-intent-redis-dsn") && (enabled || redisDsn !== "");
  return { redisDsn, redisDsnFile, mayBeTls: isChecked && checkRedisDsn(reader, "renew-intent-redis-dsn") };
}

/** Whether the address is a server with TLS. Returns false and adds a fault if the address is invalid. */
function checkRedisDsn(reader: FlagReader, name: "renew-intent-redis-dsn" | "activity-redis-dsn"): boolean {
  try {
    return parseRedisDsn(reader.text(name)).tls;
  } catch (error) {
    reader.fault(name, faultTextOf(error));
    return false;
  }
}

/** Whether the flag's value has no reference to an unset variable. */
function checkReference(reader: FlagReader, name: FlagNameOf<"string">): boolean {
  if (!UNSET_REFERENCE.test(reader.text(name))) return true;
  reader.fault(name, "contains a literal $(NAME): the environment variable is not set");
  return false;
}
