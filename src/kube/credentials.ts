import { existsSync, readFileSync } from "node:fs";
import { delimiter, dirname, isAbsolute, join } from "node:path";
import { KubeConfig, type Cluster, type User } from "@kubernetes/client-node";
import { KubeError, shorten } from "./errors.ts";
import { codeOf, isObject, messageOf } from "../values.ts";

/** Where to look for credentials. */
export interface KubeConfigSource {
  /** `--kubeconfig`; undefined: KUBECONFIG, then the pod's service account, then `~/.kube/config`. */
  readonly kubeconfig: string | undefined;
  /** The environment: KUBECONFIG, HOME, KUBERNETES_SERVICE_HOST, KUBERNETES_SERVICE_PORT. */
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** Where the kubelet mounts the service account. Tests replace it. */
  readonly serviceAccountDir?: string;
}

/** A loaded kubeconfig, with the cluster and user of its current context. */
export interface Credentials {
  readonly config: KubeConfig;
  readonly cluster: Cluster;
  readonly user: User;
  /** Read again for each request, because bound tokens are replaced every hour. Undefined: the config has the token. */
  readonly tokenFile: string | undefined;
}

/** Address, headers and TLS settings for one request. */
export interface RequestCredentials {
  /** `https://host:port`, perhaps with a path; no slash at the end. */
  readonly server: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly tls: Bun.TLSOptions;
  readonly proxyUrl: string | undefined;
}

/** Where the kubelet mounts the service account's token and authority (Kubernetes: "Accessing the API from a Pod"). */
const SERVICE_ACCOUNT_DIR = "/var/run/secrets/kubernetes.io/serviceaccount";
/** Largest token file, in bytes. A token has about 1 KiB. */
const TOKEN_MAX_BYTES = 64 * 1024;

/** Finds the credentials. Throws KubeError `credentials`, which says what to do. */
export function loadCredentials(source: KubeConfigSource): Credentials {
  const { environment } = source;
  if (source.kubeconfig !== undefined) return loadFiles([source.kubeconfig], "--kubeconfig");
  const listed = (environment["KUBECONFIG"] ?? "").split(delimiter).filter((path) => path !== "");
  if (listed.length > 0) return loadFiles(listed, "KUBECONFIG");
  const inCluster = loadServiceAccount(source);
  if (inCluster !== undefined) return inCluster;
  const home = environment["HOME"] ?? "";
  const file = join(home, ".kube", "config");
  if (home !== "" && existsSync(file)) return loadFiles([file], file);
  throw new KubeError(
    "credentials",
    "not found: pass --kubeconfig, set KUBECONFIG, run in a pod with a service account, or provide ~/.kube/config",
  );
}

/**
 * Builds what to send now. Reads token, certificate and authority files again, and runs an exec plugin if its last
 * result has expired.
 */
export async function buildRequestCredentials(credentials: Credentials): Promise<RequestCredentials> {
  const { config, cluster, user, tokenFile } = credentials;
  const options: Parameters<KubeConfig["applyToHTTPSOptions"]>[0] = {};
  try {
    await config.applyToHTTPSOptions(options);
  } catch (error) {
    const source = user.exec === undefined || user.exec === null ? "" : "the exec plugin failed: ";
    throw new KubeError("credentials", source + shorten(messageOf(error)));
  }
  const headers: Record<string, string> = {};
  for (const [name, value] of Object.entries(options.headers ?? {})) headers[name] = String(value).trim();
  if (user.username !== undefined && user.username !== "") {
    headers["Authorization"] = `Basic ${Buffer.from(`${user.username}:${user.password ?? ""}`).toString("base64")}`;
  }
  if (tokenFile !== undefined) headers["Authorization"] = `Bearer ${readToken(tokenFile)}`;
  return {
    server: cluster.server,
    headers,
    tls: {
      // Set explicitly, so that NODE_TLS_REJECT_UNAUTHORIZED has no effect.
      rejectUnauthorized: !cluster.skipTLSVerify,
      ...pick("ca", options.ca),
      ...pick("cert", options.cert),
      ...pick("key", options.key),
      ...(cluster.tlsServerName === undefined ? {} : { serverName: cluster.tlsServerName }),
    },
    proxyUrl: cluster.proxyUrl,
  };
}

/** PEM as text, so that equal values compare equal. */
function pick(name: "ca" | "cert" | "key", value: unknown): Bun.TLSOptions {
  if (typeof value === "string") return { [name]: value };
  return Buffer.isBuffer(value) ? { [name]: value.toString("utf8") } : {};
}

function readToken(file: string): string {
  const text = readText(file);
  const token = text.trim();
  if (token === "" || text.length > TOKEN_MAX_BYTES || /\s/.test(token)) {
    throw new KubeError("credentials", `the token file ${file} has no valid token`);
  }
  return token;
}

function readText(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    const code = codeOf(error) || String(error);
    throw new KubeError("credentials", `cannot read ${file} (${code})`);
  }
}

/** The pod's service account; undefined outside a pod. */
function loadServiceAccount(source: KubeConfigSource): Credentials | undefined {
  const host = source.environment["KUBERNETES_SERVICE_HOST"] ?? "";
  const port = source.environment["KUBERNETES_SERVICE_PORT"] ?? "";
  const dir = source.serviceAccountDir ?? SERVICE_ACCOUNT_DIR;
  const tokenFile = join(dir, "token");
  if (host === "" || port === "" || !existsSync(tokenFile)) return undefined;
  const config = new KubeConfig();
  config.loadFromClusterAndUser(
    {
      name: "in-cluster",
      server: `https://${host.includes(":") ? `[${host}]` : host}:${port}`,
      caFile: join(dir, "ca.crt"),
      skipTLSVerify: false,
    },
    { name: "service-account" },
  );
  return settle(config, { origin: "the service account", tokenFiles: new Map([["service-account", tokenFile]]) });
}

/** Merges kubeconfig files as kubectl does: the first of equal names wins, and listed files may be missing. */
function loadFiles(files: readonly string[], origin: string): Credentials {
  const merged = new KubeConfig();
  const tokenFiles = new Map<string, string>();
  const present = files.length === 1 ? files : files.filter((file) => existsSync(file));
  if (present.length === 0) throw new KubeError("credentials", `${origin}: all files are missing`);
  for (const file of present) {
    const text = readText(file);
    const config = new KubeConfig();
    try {
      config.loadFromString(text);
    } catch (error) {
      throw new KubeError("credentials", `${file} is not a kubeconfig: ${shorten(String(error))}`);
    }
    config.makePathsAbsolute(dirname(file));
    const users = config.users.map((user) => placePlugin(user, dirname(file)));
    for (const [user, path] of readTokenFiles(text, dirname(file)))
      if (!tokenFiles.has(user)) tokenFiles.set(user, path);
    addMissing(merged.clusters, config.clusters);
    addMissing(merged.users, users);
    addMissing(merged.contexts, config.contexts);
    if ((merged.currentContext ?? "") === "") merged.currentContext = config.currentContext;
  }
  return settle(merged, { origin, tokenFiles });
}

function addMissing<T extends { name: string }>(into: T[], from: readonly T[]): void {
  for (const item of from) if (!into.some((known) => known.name === item.name)) into.push(item);
}

/** Reads `users[].user.tokenFile`, which `KubeConfig` does not know. It overrides `token`, as in client-go. */
function readTokenFiles(text: string, dir: string): Map<string, string> {
  const found = new Map<string, string>();
  const file: unknown = Bun.YAML.parse(text);
  const users: unknown = isObject(file) ? file["users"] : undefined;
  if (!Array.isArray(users)) return found;
  const entries: readonly unknown[] = users;
  for (const entry of entries) {
    if (!isObject(entry) || !isObject(entry["user"])) continue;
    const { name } = entry;
    const path = entry["user"]["tokenFile"];
    if (typeof name !== "string" || typeof path !== "string" || path === "") continue;
    found.set(name, isAbsolute(path) ? path : join(dir, path));
  }
  return found;
}

interface SettleOptions {
  readonly origin: string;
  readonly tokenFiles: ReadonlyMap<string, string>;
}

/**
 * client-go resolves a plugin's relative path from the kubeconfig's folder. A name without a slash is found in PATH.
 */
function placePlugin(user: User, dir: string): User {
  const exec: unknown = user.exec;
  if (!isObject(exec)) return user;
  const command = exec["command"];
  if (typeof command !== "string" || !command.includes("/") || isAbsolute(command)) return user;
  return { ...user, exec: { ...exec, command: join(dir, command) } };
}

function settle(config: KubeConfig, { origin, tokenFiles }: SettleOptions): Credentials {
  const name = config.currentContext ?? "";
  const context = config.contexts.find((known) => known.name === name);
  if (context === undefined) {
    throw new KubeError(
      "credentials",
      `${origin}: ${name === "" ? "current-context is missing" : `context "${name}" is missing`}`,
    );
  }
  const cluster = config.clusters.find((known) => known.name === context.cluster);
  if (cluster === undefined) throw new KubeError("credentials", `${origin}: cluster "${context.cluster}" is missing`);
  if (!URL.canParse(cluster.server)) throw new KubeError("credentials", `${origin}: the server is not a URL`);
  // A context may name no user. Without a user, KubeConfig would also drop the cluster's authority.
  const found = config.users.find((known) => known.name === context.user) ?? { name: "anonymous" };
  const user = describeCluster(found, cluster);
  const settled = new KubeConfig();
  // KubeConfig refuses plain HTTP, which `kubectl proxy` uses, unless certificate checks are off.
  const skipTLSVerify = cluster.skipTLSVerify || cluster.server.startsWith("http:");
  settled.loadFromClusterAndUser({ ...cluster, skipTLSVerify }, user);
  return { config: settled, cluster, user, tokenFile: tokenFiles.get(user.name) };
}

/**
 * client-go passes the API version to a plugin in KUBERNETES_EXEC_INFO, and the cluster, too, with
 * `provideClusterInfo`.
 */
function describeCluster(user: User, cluster: Cluster): User {
  const exec: unknown = user.exec;
  if (!isObject(exec)) return user;
  const info = {
    apiVersion: exec["apiVersion"] ?? "client.authentication.k8s.io/v1",
    kind: "ExecCredential",
    spec: {
      interactive: false,
      ...(exec["provideClusterInfo"] === true && {
        cluster: {
          server: cluster.server,
          "tls-server-name": cluster.tlsServerName,
          "insecure-skip-tls-verify": cluster.skipTLSVerify,
          "certificate-authority-data": cluster.caData,
          "proxy-url": cluster.proxyUrl,
        },
      }),
    },
  };
  const env: readonly unknown[] = Array.isArray(exec["env"]) ? exec["env"] : [];
  return { ...user, exec: { ...exec, env: [...env, { name: "KUBERNETES_EXEC_INFO", value: JSON.stringify(info) }] } };
}
