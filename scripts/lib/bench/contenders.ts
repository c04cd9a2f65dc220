import { which } from "bun";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { type ServerProcess, startServerProcess } from "../server-process.ts";
import { readNumbers, startHelper } from "./child-process.ts";
import type { ContenderName } from "./contender-names.ts";
import { ensureCertificate } from "./certificate.ts";
import { KUBE_NAMESPACE } from "./kube-stage.ts";
import { type ReferenceProxy, REFERENCE_PROXIES } from "./reference-proxies.ts";
import { ACCESS_KEYS, sandboxNames, type Stage, writeManifests } from "./stage.ts";

const ROOT = join(import.meta.dir, "../../..");
/** The binary that `scripts/bench` has just built; INGRESS_BINARY names another to compare two builds. */
export const BINARY = process.env["INGRESS_BINARY"] ?? join(ROOT, "dist/ingress");

/** The binary of the Go ingress, from REFERENCE_INGRESS; undefined if it is not given. */
export const GO_BINARY = process.env["REFERENCE_INGRESS"] === "" ? undefined : process.env["REFERENCE_INGRESS"];
/** More flags for it, separated by blanks. */
const GO_FLAGS = (process.env["REFERENCE_FLAGS"] ?? "").split(" ").filter((flag) => flag !== "");

/** A running contender. */
export interface Running {
  readonly name: ContenderName;
  readonly pid: number;
  readonly port: number;
  /** `http://127.0.0.1:<port>`, or with `https`. */
  readonly origin: string;
  /** From the start of the process to its first forwarded answer, in milliseconds. */
  readonly startMs: number;
  stop(): Promise<void>;
}

/** What a case requires of its contenders. */
export interface Setup {
  /** The number of sandboxes. Default 1. */
  readonly sandboxes?: number;
  /** Whether the reference proxies also route to each of them. */
  readonly routeAll?: boolean;
  /** How sandboxes are named: in a header (default), or as the first two segments of the path. */
  readonly mode?: "header" | "uri";
  /** HTTP/2 from the client, without TLS by prior knowledge. */
  readonly http2?: boolean;
  readonly tls?: boolean;
  readonly ingressFlags?: readonly string[];
  /** The ingress starts in the cgroup of this file (`cgroup.procs`). */
  readonly cgroupProcsFile?: string;
}

/** A start takes a tenth of a second; 100,000 sandboxes in a manifest take several. */
const START_MAX_MS = 120_000;
const STOP_MAX_MS = 5_000;

/** The missing programs, with how to get them. */
export function missingPrograms(): ReadonlyMap<string, string> {
  const packages = new Map(REFERENCE_PROXIES.map((proxy) => [proxy.name as string, proxy.package]));
  for (const name of ["wrk", "hey", "curl", "openssl"]) packages.set(name, name);
  packages.set("h2load", "nghttp2-client");
  return new Map(
    [...packages].filter(([name]) => which(name) === null).map(([name, it]) => [name, `apt-get install ${it}`]),
  );
}

/** Starts one contender and resolves when it has forwarded a request. */
export async function startContender(name: ContenderName, setup: Setup, stage: Stage): Promise<Running> {
  switch (name) {
    case "upstream": {
      const { upstreamPid: pid, upstreamPort: port } = stage;
      return { name, pid, port, origin: originOf(port, setup), startMs: 0, stop: async () => {} };
    }
    case "bare":
      return startBare(setup, stage);
    case "ingress":
    case "policy":
      return startIngress(name, setup, stage);
    case "go":
      return startGo(setup, stage);
    case "nginx":
    case "haproxy":
    case "caddy": {
      const proxy = REFERENCE_PROXIES.find((each) => each.name === name);
      if (proxy === undefined) throw new Error(`unknown contender ${name}`);
      return startReference(proxy, setup, stage);
    }
  }
}

function originOf(port: number, { tls = false }: Setup): string {
  return `${tls ? "https" : "http"}://127.0.0.1:${port}`;
}

/** A path that leads to the upstream's `/1k`. */
function probePath({ mode = "header" }: Setup, stage: Stage): string {
  return mode === "uri" ? `/bench/${stage.upstreamPort}/1k` : "/1k";
}

async function startIngress(name: "ingress" | "policy", setup: Setup, stage: Stage): Promise<Running> {
  const { mode = "header", http2 = false, tls = false, ingressFlags = [], sandboxes = 1, cgroupProcsFile } = setup;
  const manifests = await writeManifests(stage.folder, sandboxNames(sandboxes));
  const command = ([port = 0, plainPort = 0, adminPort = 0]: readonly number[]): readonly string[] => [
    ...(cgroupProcsFile === undefined ? [] : ["sh", "-c", 'echo 0 >"$0" && exec "$@"', cgroupProcsFile]),
    BINARY,
    `--manifests=${manifests}`,
    `--mode=${mode}`,
    "--host=127.0.0.1",
    ...(tls ? [...tlsFlags(stage), `--port=${plainPort}`, `--tls-port=${port}`] : [`--port=${port}`]),
    "--admin-host=127.0.0.1",
    `--admin-port=${adminPort}`,
    "--access-log=off",
    "--log-level=error",
    "--shutdown-delay=0s",
    "--drain-timeout=1s",
    `--secure-access-keys=${ACCESS_KEYS}`,
    ...(http2 ? ["--http2"] : []),
    ...ingressFlags,
  ];
  return startProgram(name, command, { setup, stage, probes: tls ? "plain" : "loaded" });
}

function tlsFlags({ folder }: Stage): readonly string[] {
  const { certFile, keyFile } = ensureCertificate(folder);
  return [`--tls-cert-file=${certFile}`, `--tls-key-file=${keyFile}`];
}

/** The flags that its charts pass. It has none for the address, and listens on all of them. */
async function startGo(setup: Setup, stage: Stage): Promise<Running> {
  const { mode = "header", sandboxes = 1 } = setup;
  if (GO_BINARY === undefined) throw new Error("REFERENCE_INGRESS names no binary");
  const binary = GO_BINARY;
  const kubeconfig = await stage.kube.provide(sandboxNames(sandboxes));
  const command = ([port = 0]: readonly number[]): readonly string[] => [
    binary,
    `--namespace=${KUBE_NAMESPACE}`,
    `--port=${port}`,
    "--provider-type=batchsandbox",
    `--mode=${mode}`,
    "--log-level=error",
    ...GO_FLAGS,
  ];
  // One core for requests, as the other proxies have one worker. Metrics would go to a collector.
  const environment = {
    KUBECONFIG: kubeconfig,
    GOMAXPROCS: process.env["GOMAXPROCS"] ?? "1",
    OTEL_SDK_DISABLED: "true",
  };
  return startProgram("go", command, { setup, stage, probes: "loaded", environment });
}

async function startReference(proxy: ReferenceProxy, setup: Setup, stage: Stage): Promise<Running> {
  const { folder } = stage;
  const { mode = "header", http2 = false, tls = false, routeAll = false } = setup;
  const sandboxes = routeAll ? sandboxNames(setup.sandboxes ?? 1) : [];
  const namedInPath = routeAll && mode === "uri";
  const configPath = join(folder, proxy.configFile);
  const certificate = tls ? ensureCertificate(folder) : undefined;
  const command = ([port = 0, plainPort = 0]: readonly number[]): readonly string[] => {
    const options = { ...stage, port, plainPort, sandboxes, namedInPath, http2, certificate };
    writeFileSync(configPath, proxy.buildConfig(options));
    return proxy.command(configPath);
  };
  // A port with HTTP/2 and no TLS has nothing else in nginx and HAProxy.
  const probes = http2 || tls ? "plain" : "loaded";
  return startProgram(proxy.name, command, {
    // Without routing, a path that names a sandbox leads nowhere.
    setup: { ...setup, mode: namedInPath ? "uri" : "header" },
    stage,
    probes,
    environment: { ...proxy.environment, HOME: folder },
  });
}

async function startBare(setup: Setup, stage: Stage): Promise<Running> {
  const { mode = "header", http2 = false, tls = false } = setup;
  const { upstreamPort, sinkPort, chunkedPort } = stage;
  const startedAt = performance.now();
  const certificate = tls ? ensureCertificate(stage.folder) : undefined;
  const options = { upstreamPort, sinkPort, chunkedPort, http2, namedInPath: mode === "uri", certificate };
  const helper = startHelper("bare-forwarder.ts", [JSON.stringify(options)], {
    environment: { BUN_CONFIG_MAX_HTTP_REQUESTS: "65535" },
  });
  const { port } = readNumbers(await helper.next(), ["port"]);
  const origin = originOf(port, setup);
  await fetch(`${origin}${probePath(setup, stage)}`, { proxy: false, tls: { rejectUnauthorized: false } });
  const startMs = performance.now() - startedAt;
  return { name: "bare", pid: helper.pid, port, origin, startMs, stop: () => helper.stop() };
}

async function startProgram(
  name: ContenderName,
  command: (ports: readonly number[]) => readonly string[],
  options: {
    readonly setup: Setup;
    readonly stage: Stage;
    /** Which of its ports tells that it serves: the one that gets the load, or the one beside it. */
    readonly probes: "loaded" | "plain";
    readonly environment?: Readonly<Record<string, string>>;
  },
): Promise<Running> {
  const { setup, stage, probes } = options;
  const path = probePath(setup, stage);
  let startedAt = 0;
  const server = await startServerProcess({
    name,
    ports: 3,
    command: (ports) => {
      startedAt = performance.now();
      return command(ports);
    },
    isReady: ({ ports: [port, plainPort] }) =>
      answers(`http://127.0.0.1:${probes === "plain" ? plainPort : port}${path}`, stage),
    env: { ...process.env, ...options.environment },
    startMaxMs: START_MAX_MS,
  });
  const [port = 0] = server.ports;
  const startMs = performance.now() - startedAt;
  return { name, pid: server.pid, port, origin: originOf(port, setup), startMs, stop: () => stopProgram(server) };
}

async function answers(url: string, stage: Stage): Promise<boolean> {
  try {
    const headers = { "OpenSandbox-Ingress-To": `bench-${stage.upstreamPort}` };
    const answer = await fetch(url, { headers, proxy: false, keepalive: false });
    return answer.ok && (await answer.bytes()).byteLength === 1024;
  } catch {
    return false;
  }
}

async function stopProgram(child: ServerProcess): Promise<void> {
  child.kill("SIGTERM");
  const killer = setTimeout(() => child.kill("SIGKILL"), STOP_MAX_MS);
  await child.exited;
  clearTimeout(killer);
}
