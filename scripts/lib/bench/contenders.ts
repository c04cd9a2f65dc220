import { which } from "bun";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { type ServerProcess, startServerProcess } from "../server-process.ts";
import { readNumbers, startHelper } from "./child-process.ts";
import { type ReferenceProxy, REFERENCE_PROXIES } from "./reference-proxies.ts";
import { ACCESS_KEYS, sandboxNames, type Stage, writeManifests } from "./stage.ts";

const ROOT = join(import.meta.dir, "../../..");
/** The binary that `scripts/bench` has just built; INGRESS_BINARY names another to compare two builds. */
export const BINARY = process.env["INGRESS_BINARY"] ?? join(ROOT, "dist/ingress");

/** The measured programs: the ingress, the simplest proxy on Bun, other proxies, and no proxy at all. */
export type ContenderName = "ingress" | "bare" | "nginx" | "haproxy" | "caddy" | "upstream";

/** A running contender. */
export interface Running {
  readonly name: ContenderName;
  readonly pid: number;
  readonly port: number;
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
  readonly mode?: "header" | "uri";
  readonly ingressFlags?: readonly string[];
}

/** A start takes a tenth of a second; 100,000 sandboxes in a manifest take several. */
const START_MAX_MS = 120_000;
const STOP_MAX_MS = 5_000;

/** The missing programs, with how to get them. */
export function missingPrograms(): ReadonlyMap<string, string> {
  const packages = new Map(REFERENCE_PROXIES.map((proxy) => [proxy.name as string, proxy.package]));
  for (const name of ["wrk", "hey", "curl"]) packages.set(name, name);
  return new Map(
    [...packages].filter(([name]) => which(name) === null).map(([name, it]) => [name, `apt-get install ${it}`]),
  );
}

/** Starts one contender and resolves when it has forwarded a request. */
export async function startContender(name: ContenderName, setup: Setup, stage: Stage): Promise<Running> {
  switch (name) {
    case "upstream":
      return { name, pid: stage.upstreamPid, port: stage.upstreamPort, startMs: 0, stop: async () => {} };
    case "bare":
      return startBare(stage);
    case "ingress":
      return startIngress(setup, stage);
    case "nginx":
    case "haproxy":
    case "caddy": {
      const proxy = REFERENCE_PROXIES.find((each) => each.name === name);
      if (proxy === undefined) throw new Error(`unknown contender ${name}`);
      return startReference(proxy, setup, stage);
    }
  }
}

async function startIngress(setup: Setup, stage: Stage): Promise<Running> {
  const { mode = "header", ingressFlags = [], sandboxes = 1 } = setup;
  const manifests = await writeManifests(stage.folder, sandboxNames(sandboxes));
  const command = ([port, adminPort]: readonly number[]): readonly string[] => [
    BINARY,
    `--manifests=${manifests}`,
    `--mode=${mode}`,
    "--host=127.0.0.1",
    `--port=${port}`,
    "--admin-host=127.0.0.1",
    `--admin-port=${adminPort}`,
    "--access-log=off",
    "--log-level=error",
    "--shutdown-delay=0s",
    "--drain-timeout=1s",
    `--secure-access-keys=${ACCESS_KEYS}`,
    ...ingressFlags,
  ];
  const path = mode === "uri" ? `/bench/${stage.upstreamPort}/1k` : "/1k";
  return startProgram("ingress", command, { path, stage });
}

async function startReference(proxy: ReferenceProxy, setup: Setup, stage: Stage): Promise<Running> {
  const { folder, upstreamPort, sinkPort } = stage;
  const sandboxes = setup.routeAll === true ? sandboxNames(setup.sandboxes ?? 1) : [];
  const configPath = join(folder, proxy.configFile);
  const command = ([port = 0]: readonly number[]): readonly string[] => {
    writeFileSync(configPath, proxy.buildConfig({ port, upstreamPort, sinkPort, sandboxes, folder }));
    return proxy.command(configPath);
  };
  return startProgram(proxy.name, command, { path: "/1k", stage, environment: { ...proxy.environment, HOME: folder } });
}

async function startBare(stage: Stage): Promise<Running> {
  const startedAt = performance.now();
  const helper = startHelper("bare-forwarder.ts", [String(stage.upstreamPort), String(stage.sinkPort)], {
    environment: { BUN_CONFIG_MAX_HTTP_REQUESTS: "65535" },
  });
  const { port } = readNumbers(await helper.next(), ["port"]);
  await fetch(`http://127.0.0.1:${port}/1k`, { proxy: false });
  return { name: "bare", pid: helper.pid, port, startMs: performance.now() - startedAt, stop: () => helper.stop() };
}

async function startProgram(
  name: ContenderName,
  command: (ports: readonly number[]) => readonly string[],
  options: {
    readonly path: string;
    readonly stage: Stage;
    readonly environment?: Readonly<Record<string, string>>;
  },
): Promise<Running> {
  const { path, stage } = options;
  let startedAt = 0;
  const server = await startServerProcess({
    name,
    ports: 2,
    command: (ports) => {
      startedAt = performance.now();
      return command(ports);
    },
    isReady: ({ ports: [port] }) => answers(`http://127.0.0.1:${port}${path}`, stage),
    env: { ...process.env, ...options.environment },
    startMaxMs: START_MAX_MS,
  });
  const [port = 0] = server.ports;
  return { name, pid: server.pid, port, startMs: performance.now() - startedAt, stop: () => stopProgram(server) };
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
