import { type Subprocess, which } from "bun";
import { join } from "node:path";
import { findFreePort } from "../demo-stage.ts";
import { readNumbers, startHelper } from "./child-process.ts";
import { type ReferenceProxy, REFERENCE_PROXIES } from "./reference-proxies.ts";
import { ACCESS_KEYS, sandboxNames, type Stage, writeManifests } from "./stage.ts";

const ROOT = join(import.meta.dir, "../..");
/** What `scripts/bench` has just built; another for comparisons of two builds. */
export const BINARY = process.env["INGRESS_BINARY"] ?? join(ROOT, "dist/ingress");

/** Who is measured: the ingress, the least that a proxy on Bun can do, proxies of others, and no proxy at all. */
export type ContenderName = "ingress" | "bare" | "nginx" | "haproxy" | "caddy" | "upstream";

/** One that runs. */
export interface Running {
  readonly name: ContenderName;
  readonly pid: number;
  readonly port: number;
  /** From the start of the process to its first forwarded answer, in milliseconds. */
  readonly startMs: number;
  stop(): Promise<void>;
}

/** What a case asks of those who take part. */
export interface Setup {
  /** How many sandboxes there are. Default 1. */
  readonly sandboxes?: number;
  /** Whether the reference proxies, too, route to each of them. */
  readonly routeAll?: boolean;
  readonly mode?: "header" | "uri";
  readonly ingressFlags?: readonly string[];
}

/** A start takes a tenth of a second; 100,000 sandboxes in a manifest take several. */
const START_MAX_MS = 120_000;
const STOP_MAX_MS = 5_000;
const POLL_INTERVAL_MS = 2;

/** The programs that are needed and missing, with how to get them. */
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
      if (proxy === undefined) throw new Error(`${name} is not known`);
      return startReference(proxy, setup, stage);
    }
  }
}

async function startIngress(setup: Setup, stage: Stage): Promise<Running> {
  const { mode = "header", ingressFlags = [], sandboxes = 1 } = setup;
  const manifests = await writeManifests(stage.folder, sandboxNames(sandboxes));
  const port = findFreePort();
  const command = [
    BINARY,
    `--manifests=${manifests}`,
    `--mode=${mode}`,
    "--host=127.0.0.1",
    `--port=${port}`,
    "--admin-host=127.0.0.1",
    `--admin-port=${findFreePort()}`,
    "--access-log=off",
    "--log-level=error",
    "--shutdown-delay=0s",
    "--drain-timeout=1s",
    `--secure-access-keys=${ACCESS_KEYS}`,
    ...ingressFlags,
  ];
  const path = mode === "uri" ? `/bench/${stage.upstreamPort}/1k` : "/1k";
  return startProgram("ingress", command, { port, path, stage });
}

async function startReference(proxy: ReferenceProxy, setup: Setup, stage: Stage): Promise<Running> {
  const port = findFreePort();
  const { folder, upstreamPort, sinkPort } = stage;
  const sandboxes = setup.routeAll === true ? sandboxNames(setup.sandboxes ?? 1) : [];
  const configPath = join(folder, proxy.configFile);
  await Bun.write(configPath, proxy.buildConfig({ port, upstreamPort, sinkPort, sandboxes, folder }));
  const environment = { ...proxy.environment, HOME: folder };
  return startProgram(proxy.name, proxy.command(configPath), { port, path: "/1k", stage, environment });
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
  command: readonly string[],
  options: {
    readonly port: number;
    readonly path: string;
    readonly stage: Stage;
    readonly environment?: Readonly<Record<string, string>>;
  },
): Promise<Running> {
  const { port, stage } = options;
  const log = join(stage.folder, `${name}.log`);
  const startedAt = performance.now();
  const child = Bun.spawn([...command], {
    stdin: "ignore",
    stdout: Bun.file(log),
    stderr: Bun.file(log),
    env: { ...process.env, ...options.environment },
  });
  const url = `http://127.0.0.1:${port}${options.path}`;
  while (!(await answers(url, stage))) {
    const isLate = performance.now() - startedAt > START_MAX_MS;
    if (child.exitCode !== null || child.signalCode !== null || isLate) {
      child.kill("SIGKILL");
      throw new Error(`${name} did not start:\n${await Bun.file(log).text()}`);
    }
    await Bun.sleep(POLL_INTERVAL_MS);
  }
  return { name, pid: child.pid, port, startMs: performance.now() - startedAt, stop: () => stopProgram(child) };
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

async function stopProgram(child: Subprocess): Promise<void> {
  child.kill("SIGTERM");
  const killer = setTimeout(() => child.kill("SIGKILL"), STOP_MAX_MS);
  await child.exited;
  clearTimeout(killer);
}
