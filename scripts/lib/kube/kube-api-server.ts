import { generateKeyPairSync, randomBytes } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type ServerProcess, startServerProcess } from "../server-process.ts";
import { ensureKubeBinaries, type KubeBinaries } from "./kube-binaries.ts";

export interface KubeApiServerOptions {
  /** The folder for data and keys; the caller removes it. */
  readonly dir: string;
  /** More flags for kube-apiserver. */
  readonly args?: readonly string[];
  /** Receives a line about each slow step. Default: standard error. */
  readonly progress?: (line: string) => void;
}

/** An answer with a 2xx status. */
export type Json = Readonly<Record<string, unknown>>;

export interface KubeRequestOptions {
  /** Default: the administrator's. */
  readonly token?: string;
  /** Default: `application/json`. */
  readonly contentType?: string;
}

/** A real kube-apiserver and its etcd, on loopback. */
export interface KubeApiServer extends AsyncDisposable {
  readonly url: string;
  readonly port: number;
  /** The file with the certificate authority for clients. */
  readonly caFile: string;
  /** A token of `system:masters`. */
  readonly adminToken: string;
  /** Sends a request and returns its answer. Throws an Error with status and text for any status that is not 2xx. */
  request(method: string, path: string, body?: unknown, options?: KubeRequestOptions): Promise<Json>;
  /**
   * Writes a kubeconfig and returns its path. `user` is the content below `user:`; default: the administrator's token.
   */
  writeKubeconfig(name: string, options?: { readonly user?: Json; readonly server?: string }): string;
  /** Kills kube-apiserver like a crash. etcd continues. */
  kill(): Promise<void>;
  /** Starts it again on the same port, with the same data. */
  restart(): Promise<void>;
  /** Drops all history before now: a watch from an earlier version gets a 410. */
  compact(): Promise<void>;
  /** Puts pairs of key and value into etcd, behind the API server's back. */
  putIntoEtcd(pairs: readonly (readonly [key: string, value: string])[]): Promise<void>;
  stop(): Promise<void>;
}

const LOOPBACK = "127.0.0.1";

/** Starts etcd and kube-apiserver and waits until both serve. Builds them first if they are missing. */
export async function startKubeApiServer(options: KubeApiServerOptions): Promise<KubeApiServer> {
  const binaries = await ensureKubeBinaries(options.progress ?? ((line) => console.error(line)));
  mkdirSync(options.dir, { recursive: true });
  const server = new LocalKubeApiServer(binaries, options);
  try {
    await server.start();
  } catch (error) {
    await server.stop();
    throw error;
  }
  return server;
}

class LocalKubeApiServer implements KubeApiServer {
  readonly caFile: string;
  readonly adminToken = randomBytes(16).toString("hex");
  readonly #binaries: KubeBinaries;
  readonly #options: KubeApiServerOptions;
  readonly #guard = findGuard();
  #etcd: ServerProcess | undefined;
  #apiServer: ServerProcess | undefined;
  #session: Bun.FetchSession | undefined;

  constructor(binaries: KubeBinaries, options: KubeApiServerOptions) {
    this.#binaries = binaries;
    this.#options = options;
    this.caFile = join(options.dir, "certificates", "apiserver.crt");
  }

  get port(): number {
    return this.#apiServer?.ports[0] ?? 0;
  }

  get url(): string {
    return urlOf(this.port);
  }

  get #etcdUrl(): string {
    return `http://${LOOPBACK}:${this.#etcd?.ports[0]}`;
  }

  async start(): Promise<void> {
    const { dir } = this.#options;
    this.#etcd = await startServerProcess({
      name: "etcd",
      ports: 2,
      command: ([port, peerPort]) => {
        const url = `http://${LOOPBACK}:${port}`;
        const peerUrl = `http://${LOOPBACK}:${peerPort}`;
        return [
          ...this.#guard,
          this.#binaries.etcd,
          // A separate folder for each port, because a folder keeps the addresses that it was made with.
          `--data-dir=${join(dir, `etcd-${port}`)}`,
          `--listen-client-urls=${url}`,
          `--advertise-client-urls=${url}`,
          `--listen-peer-urls=${peerUrl}`,
          `--initial-advertise-peer-urls=${peerUrl}`,
          `--initial-cluster=default=${peerUrl}`,
          // The data need not survive the machine.
          "--unsafe-no-fsync",
          "--log-level=warn",
          "--quota-backend-bytes=4294967296",
        ];
      },
      isReady: async ({ ports: [port] }) => (await fetch(`http://${LOOPBACK}:${port}/health`, { proxy: false })).ok,
    });
    const key = generateKeyPairSync("rsa", { modulusLength: 2048 });
    writeFileSync(join(dir, "service-account.key"), key.privateKey.export({ type: "pkcs8", format: "pem" }));
    writeFileSync(join(dir, "service-account.pub"), key.publicKey.export({ type: "spki", format: "pem" }));
    writeFileSync(join(dir, "tokens.csv"), `${this.adminToken},admin,admin,"system:masters"\n`);
    await this.#startApiServer(1);
  }

  restart(): Promise<void> {
    return this.#startApiServer([this.port]);
  }

  async #startApiServer(ports: number | readonly number[]): Promise<void> {
    const { dir, args = [] } = this.#options;
    this.#apiServer = await startServerProcess({
      name: "kube-apiserver",
      ports,
      command: ([port = 0]) => [
        ...this.#guard,
        this.#binaries.apiServer,
        `--etcd-servers=${this.#etcdUrl}`,
        `--cert-dir=${join(dir, "certificates")}`,
        `--bind-address=${LOOPBACK}`,
        `--secure-port=${port}`,
        `--token-auth-file=${join(dir, "tokens.csv")}`,
        "--authorization-mode=RBAC",
        `--service-account-issuer=${urlOf(port)}`,
        `--service-account-key-file=${join(dir, "service-account.pub")}`,
        `--service-account-signing-key-file=${join(dir, "service-account.key")}`,
        "--service-cluster-ip-range=10.0.0.0/24",
        // It waits for a controller that makes tokens, which does not run here.
        "--disable-admission-plugins=ServiceAccount",
        ...args,
      ],
      isReady: async ({ ports: [port = 0] }) => {
        // A new session, because the authority's file may not be complete yet.
        const tls = { ca: readFileSync(this.caFile, "utf8") };
        const headers = { Authorization: `Bearer ${this.adminToken}` };
        return (await fetch(`${urlOf(port)}/readyz`, { headers, tls, proxy: false, keepalive: false })).ok;
      },
    });
  }

  async request(method: string, path: string, body?: unknown, options: KubeRequestOptions = {}): Promise<Json> {
    return toJson(await this.#ask(method, path, { ...options, body }));
  }

  async #ask(method: string, path: string, options: KubeRequestOptions & { readonly body?: unknown }): Promise<string> {
    const { body } = options;
    this.#session ??= new Bun.FetchSession({ tls: { ca: readFileSync(this.caFile, "utf8") }, proxy: false });
    const response = await this.#session.fetch(this.url + path, {
      method,
      headers: {
        Authorization: `Bearer ${options.token ?? this.adminToken}`,
        ...(body !== undefined && { "Content-Type": options.contentType ?? "application/json" }),
      },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${text.slice(0, 500)}`);
    return text;
  }

  writeKubeconfig(name: string, options: { readonly user?: Json; readonly server?: string } = {}): string {
    const path = join(this.#options.dir, `${name}.kubeconfig`);
    const config = {
      apiVersion: "v1",
      kind: "Config",
      "current-context": "test",
      contexts: [{ name: "test", context: { cluster: "test", user: "test" } }],
      clusters: [
        { name: "test", cluster: { server: options.server ?? this.url, "certificate-authority": this.caFile } },
      ],
      users: [{ name: "test", user: options.user ?? { token: this.adminToken } }],
    };
    // JSON is YAML. The file gives full access to the cluster.
    writeFileSync(path, `${JSON.stringify(config, undefined, 2)}\n`, { mode: 0o600 });
    return path;
  }

  async kill(): Promise<void> {
    await this.#apiServer?.stop();
    this.#session?.close();
  }

  async compact(): Promise<void> {
    const status = await this.#askEtcd("maintenance/status", {});
    const header = status["header"];
    const revision =
      typeof header === "object" && header !== null && "revision" in header ? header.revision : undefined;
    await this.#askEtcd("kv/compaction", { revision, physical: true });
  }

  async putIntoEtcd(pairs: readonly (readonly [key: string, value: string])[]): Promise<void> {
    const base64 = (text: string) => Buffer.from(text).toString("base64");
    const success = pairs.map(([key, value]) => ({ requestPut: { key: base64(key), value: base64(value) } }));
    await this.#askEtcd("kv/txn", { success });
  }

  async stop(): Promise<void> {
    this.#session?.close();
    await this.#apiServer?.stop();
    await this.#etcd?.stop();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  async #askEtcd(method: string, body: unknown): Promise<Json> {
    const url = `${this.#etcdUrl}/v3/${method}`;
    const response = await fetch(url, { method: "POST", body: JSON.stringify(body), proxy: false });
    const text = await response.text();
    if (!response.ok) throw new Error(`etcd ${method}: ${response.status} ${text.slice(0, 500)}`);
    return toJson(text);
  }
}

function urlOf(port: number): string {
  return `https://${LOOPBACK}:${port}`;
}

/** With util-linux, a killed test leaves nothing running. */
function findGuard(): readonly string[] {
  const guard = ["setpriv", "--pdeathsig", "KILL", "--"];
  const works = Bun.which("setpriv") !== null && Bun.spawnSync([...guard, "true"]).success;
  return works ? guard : [];
}

function toJson(text: string): Json {
  const value: unknown = JSON.parse(text);
  if (typeof value !== "object" || value === null) throw new Error("expected a JSON object");
  return Object.fromEntries(Object.entries(value));
}
