import { existsSync, readFileSync } from "node:fs";
import { delimiter, dirname, isAbsolute, join } from "node:path";
import { KubeConfig, type Cluster, type User } from "@kubernetes/client-node";
import { KubeError, shorten } from "./errors.ts";
import { isJsonObject } from "./resource.ts";

/** Where to look for credentials. */
export interface KubeConfigSource {
  /** `--kubeconfig`; undefined: KUBECONFIG, then the pod's service account, then `~/.kube/config`. */
  readonly kubeconfig: string | undefined;
  /** The environment: KUBECONFIG, HOME, KUBERNETES_SERVICE_HOST, KUBERNETES_SERVICE_PORT. */
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** Where the kubelet mounts the service account; a seam. */
  readonly serviceAccountDir?: string;
}

/** A loaded kubeconfig, its current context's cluster and user settled. */
export interface Credentials {
  readonly config: KubeConfig;
  readonly cluster: Cluster;
  readonly user: User;
  /** Read again for each request, since bound tokens are replaced every hour; undefined: the config has the token. */
  readonly tokenFile: string | undefined;
}

/** What one request needs. */
export interface RequestCredentials {
  /** `https://host:port`, perhaps with a path, no slash at the end. */
  readonly server: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly tls: Bun.TLSOptions;
  readonly proxyUrl: string | undefined;
}

/** Where the kubelet mounts the service account's token and authority (Kubernetes: "Accessing the API from a Pod"). */
const SERVICE_ACCOUNT_DIR = "/var/run/secrets/kubernetes.io/serviceaccount";
/** A token is about 1 KiB; a file of more is not one. */
const TOKEN_MAX_BYTES = 64 * 1024;

/** Finds the credentials. Throws KubeError `credentials` with what to do. */
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
    "none found: pass --kubeconfig, set KUBECONFIG, run in a pod with a service account, or provide ~/.kube/config",
  );
}

/**
 * What to send now. Reads token, certificate and authority files again, and lets an exec plugin run when what it gave
 * last has expired.
 */
export async function buildRequestCredentials(credentials: Credentials): Promise<RequestCredentials> {
  const { config, cluster, user, tokenFile } = credentials;
  const options: Parameters<KubeConfig["applyToHTTPSOptions"]>[0] = {};
  try {
    await config.applyToHTTPSOptions(options);
  } catch (error) {
    const source = user.exec === undefined || user.exec === null ? "" : "the exec plugin failed: ";
    throw new KubeError("credentials", source + shorten(error instanceof Error ? error.message : String(error)));
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
      // Never left to NODE_TLS_REJECT_UNAUTHORIZED.
      rejectUnauthorized: !cluster.skipTLSVerify,
      ...pick("ca", options.ca),
      ...pick("cert", options.cert),
      ...pick("key", options.key),
      ...(cluster.tlsServerName === undefined ? {} : { serverName: cluster.tlsServerName }),
    },
    proxyUrl: cluster.proxyUrl,
  };
}

/** PEM as text, so that equal ones compare equal. */
function pick(name: "ca" | "cert" | "key", value: unknown): Bun.TLSOptions {
  if (typeof value === "string") return { [name]: value };
  return Buffer.isBuffer(value) ? { [name]: value.toString("utf8") } : {};
}

function readToken(file: string): string {
  const text = readText(file);
  const token = text.trim();
  if (token === "" || text.length > TOKEN_MAX_BYTES || /\s/.test(token)) {
    throw new KubeError("credentials", `the token file ${file} holds no token`);
  }
  return token;
}

function readText(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    const code = error instanceof Error && "code" in error ? String(error.code) : String(error);
    throw new KubeError("credentials", `${file} cannot be read (${code})`);
  }
}

/** The pod's own: undefined where the program does not run in one. */
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

/** Merges kubeconfig files as kubectl does: of equal names the first counts, and a listed file may be missing. */
function loadFiles(files: readonly string[], origin: string): Credentials {
  const merged = new KubeConfig();
  const tokenFiles = new Map<string, string>();
  const present = files.length === 1 ? files : files.filter((file) => existsSync(file));
  if (present.length === 0) throw new KubeError("credentials", `${origin}: none of the files exists`);
  for (const file of present) {
    const text = readText(file);
    const config = new KubeConfig();
    try {
      config.loadFromString(text);
    } catch (error) {
      throw new KubeError("credentials", `${file} is no kubeconfig: ${shorten(String(error))}`);
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

/** `users[].user.tokenFile`, which `KubeConfig` does not know; it counts for more than `token` (client-go). */
function readTokenFiles(text: string, dir: string): Map<string, string> {
  const found = new Map<string, string>();
  const file: unknown = Bun.YAML.parse(text);
  const users: unknown = isJsonObject(file) ? file["users"] : undefined;
  if (!Array.isArray(users)) return found;
  const entries: readonly unknown[] = users;
  for (const entry of entries) {
    if (!isJsonObject(entry) || !isJsonObject(entry["user"])) continue;
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

/** client-go runs a plugin named by a relative path from the kubeconfig's own folder; a bare name comes from PATH. */
function placePlugin(user: User, dir: string): User {
  const exec: unknown = user.exec;
  if (!isJsonObject(exec)) return user;
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
      `${origin}: ${name === "" ? "no current-context is set" : `no context "${name}"`}`,
    );
  }
  const cluster = config.clusters.find((known) => known.name === context.cluster);
  if (cluster === undefined) throw new KubeError("credentials", `${origin}: no cluster "${context.cluster}"`);
  if (!URL.canParse(cluster.server)) throw new KubeError("credentials", `${origin}: the server is no URL`);
  // A context may name no user; without one KubeConfig forgets the cluster's authority as well.
  const found = config.users.find((known) => known.name === context.user) ?? { name: "anonymous" };
  const user = describeCluster(found, cluster);
  const settled = new KubeConfig();
  // KubeConfig refuses plain HTTP, which `kubectl proxy` speaks, unless the check of certificates is off.
  const skipTLSVerify = cluster.skipTLSVerify || cluster.server.startsWith("http:");
  settled.loadFromClusterAndUser({ ...cluster, skipTLSVerify }, user);
  return { config: settled, cluster, user, tokenFile: tokenFiles.get(user.name) };
}

/** client-go tells a plugin its API version, and with `provideClusterInfo` the cluster, in KUBERNETES_EXEC_INFO. */
function describeCluster(user: User, cluster: Cluster): User {
  const exec: unknown = user.exec;
  if (!isJsonObject(exec)) return user;
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
