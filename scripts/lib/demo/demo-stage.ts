import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { startSampleSandbox, type SampleSandbox } from "./sample-sandbox.ts";

const ROOT = join(import.meta.dir, "../../..");
const SAMPLES = join(ROOT, "deploy/samples");
/** Longest start on a slow machine; it usually takes a tenth of a second. */
const START_MAX_MS = 30_000;
const POLL_INTERVAL_MS = 20;
/** Longer than the ingress's own limit: it drains within `--shutdown-delay` and `--drain-timeout`, see `runIngress`. */
const STOP_MAX_MS = 10_000;

/** A fault that a person can fix: only its message is printed. */
export class DemoError extends Error {
  readonly exitCode: 1 | 2;
  constructor(message: string, options: { exitCode?: 1 | 2 } = {}) {
    super(message);
    this.exitCode = options.exitCode ?? 1;
  }
}

export interface IngressOptions {
  /** What to start: the binary, or Bun and a source file. */
  readonly command: readonly string[];
  /** Flags that say where sandboxes come from. */
  readonly providerFlags: readonly string[];
  readonly mode: "header" | "uri";
  readonly host: string;
  readonly port: number;
  /** 0: none. */
  readonly adminPort: number;
  /** Where its output goes; by default to the terminal. */
  readonly logFile?: string;
}

export interface RunningIngress {
  readonly host: string;
  readonly port: number;
  readonly adminPort: number;
  /** Resolves with the exit code. */
  readonly exited: Promise<number>;
  /** Asks it to end, kills it if it does not, and returns its exit code. */
  stop(): Promise<number>;
}

/** Starts an ingress and resolves when it answers. Throws a DemoError if it ends before that. */
export async function runIngress(options: IngressOptions): Promise<RunningIngress> {
  const { host, port, adminPort, mode } = options;
  const output = options.logFile === undefined ? "inherit" : Bun.file(options.logFile);
  const child = Bun.spawn(
    [
      ...options.command,
      `--mode=${mode}`,
      `--host=${host}`,
      `--port=${port}`,
      `--admin-host=${host}`,
      `--admin-port=${adminPort}`,
      // No load balancer needs time to react.
      "--shutdown-delay=0s",
      "--drain-timeout=2s",
      ...options.providerFlags,
    ],
    // Its own process group, so that only this process forwards Ctrl-C to it: a second signal would skip the drain.
    { cwd: ROOT, stdin: "ignore", stdout: output, stderr: output, detached: true },
  );
  const stop = async () => {
    child.kill("SIGTERM");
    const killer = setTimeout(() => child.kill("SIGKILL"), STOP_MAX_MS);
    const code = await child.exited;
    clearTimeout(killer);
    return code;
  };
  const deadline = performance.now() + START_MAX_MS;
  while (!(await answers(`http://${formatHost(host)}:${port}/status.ok`))) {
    if (child.exitCode !== null || child.signalCode !== null) {
      const log = options.logFile === undefined ? "" : `:\n${await Bun.file(options.logFile).text()}`;
      throw new DemoError(`the ingress ended at once (${child.exitCode ?? child.signalCode})${log}`);
    }
    if (performance.now() > deadline) {
      await stop();
      throw new DemoError(`the ingress did not answer within ${START_MAX_MS / 1000} s`);
    }
    await Bun.sleep(POLL_INTERVAL_MS);
  }
  return { host, port, adminPort, exited: child.exited, stop };
}

async function answers(url: string): Promise<boolean> {
  try {
    return (await fetch(url, { proxy: false })).ok;
  } catch {
    return false;
  }
}

/** An address as it stands in a URL. */
export function formatHost(host: string): string {
  if (host === "::" || host === "0.0.0.0") return "127.0.0.1";
  return host.includes(":") ? `[${host}]` : host;
}

/** Throws a DemoError that says what to do if something already listens there. */
export function checkPortFree(host: string, port: number): void {
  try {
    Bun.listen({ hostname: host, port, socket: { data() {} } }).stop(true);
  } catch {
    throw new DemoError(
      `port ${port} is taken: stop what listens on it, or choose others with --port and --admin-port`,
    );
  }
}

export interface Sandboxes {
  readonly one: SampleSandbox;
  readonly two: SampleSandbox;
  /** The folder of manifests that describes them. */
  readonly manifests: string;
  stop(): Promise<void>;
}

/** Starts the two sandboxes of `deploy/samples`. Port 0 takes free ports. */
export async function startSandboxes(options: { port: number }): Promise<Sandboxes> {
  const { port } = options;
  // Linux has all of 127.0.0.0/8. macOS has one loopback address, so the ports must differ.
  const oneAddress = process.platform === "darwin";
  const one = openSandbox("demo-one", oneAddress ? "127.0.0.1" : "127.0.0.2", port);
  let two: SampleSandbox;
  try {
    two = oneAddress
      ? openSandbox("demo-two", "127.0.0.1", port === 0 ? 0 : port + 1)
      : openSandbox("demo-two", "127.0.0.3", port);
  } catch (error) {
    await one.stop();
    throw error;
  }
  const manifests = oneAddress ? await writeMapManifests([one, two]) : SAMPLES;
  return {
    one,
    two,
    manifests,
    stop: async () => {
      await Promise.all([one.stop(), two.stop()]);
      if (oneAddress) rmSync(manifests, { recursive: true, force: true });
    },
  };
}

function openSandbox(name: string, address: string, port: number): SampleSandbox {
  try {
    return startSampleSandbox(name, { address, port });
  } catch {
    throw new DemoError(
      `${address}:${port}, where sandbox ${name} should listen, is taken: choose with --sandbox-port`,
    );
  }
}

/** The sample manifests in the endpoint annotation's map form, which names an address per port. */
async function writeMapManifests(sandboxes: readonly SampleSandbox[]): Promise<string> {
  const folder = join(ROOT, ".cache", `demo-manifests-${process.pid}`);
  mkdirSync(folder, { recursive: true });
  for (const { name, address, port } of sandboxes) {
    const resource = {
      apiVersion: "sandbox.opensandbox.io/v1alpha1",
      kind: "BatchSandbox",
      metadata: {
        name,
        namespace: "demo",
        annotations: {
          "sandbox.opensandbox.io/endpoints": JSON.stringify({ [port]: `${address}:${port}` }),
          "ingress.opensandbox.io/origin-header": "upstream",
          "ingress.opensandbox.io/wake-on-access": "true",
        },
      },
      spec: { replicas: 1 },
      status: { replicas: 1, ready: 1, phase: "Succeed" },
    };
    await Bun.write(join(folder, `${name}.json`), `${JSON.stringify(resource, null, 2)}\n`);
  }
  return folder;
}
