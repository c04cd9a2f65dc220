// soak-watch.ts: the table while the API server misbehaves for longer than a test may take. `bun scripts/soak-watch.ts
// [outage] [cuts] [silence]`, all by default; exit code 0 or 1.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { eventually } from "./lib/eventually.ts";
import { startIngressProcess } from "./lib/ingress-process.ts";
import { startKubeApiServer, type KubeApiServer } from "./lib/kube/kube-api-server.ts";
import { startProviderBench } from "./lib/kube/kube-provider-bench.ts";
import {
  BATCH_SANDBOX,
  createNamespace,
  createObject,
  deleteObject,
  installCrd,
  patchObject,
  readyAt,
} from "./lib/kube/kube-resources.ts";
import { openTcpGate } from "./lib/stage/tcp-gate.ts";
import { startSampleSandbox } from "./lib/demo/sample-sandbox.ts";

const BINARY = process.env["INGRESS_BINARY"] ?? join(import.meta.dir, "../dist/ingress");
const SANDBOXES = 50;

/** How long the API server is away, and how soon after its return a change must be visible. */
const OUTAGE_MS = 30_000;
const RETURN_MAX_MS = 5000;
/** Simultaneous requests while it is away. */
const CLIENTS = 8;

/** How often the watch's connection is cut, and for how long. */
const CUT_INTERVAL_MS = 1000;
const CUTS_MS = 60_000;

/** A silent connection must be replaced within this time. */
const SILENCE_MAX_MS = 90_000;

/** Returns a line about the result. Throws if it is wrong. */
type Case = (server: KubeApiServer, namespace: string) => Promise<string>;

const CASES: Readonly<Record<string, Case>> = { outage, cuts, silence };

/** Traffic continues without a failure while the API server is away, and changes apply soon after its return. */
async function outage(server: KubeApiServer, namespace: string): Promise<string> {
  const sandbox = startSampleSandbox("soak", { address: "127.0.0.1", port: 0 });
  const name = "served";
  await createObject(server, BATCH_SANDBOX, { namespace, name, ...readyAt("127.0.0.1") });
  const kubeconfig = server.writeKubeconfig(namespace);
  const flags = [`--kubeconfig=${kubeconfig}`, `--namespace=${namespace}`, "--allow-loopback-endpoints"];
  await using ingress = await startIngressProcess(BINARY, flags);
  const ask = async (id: string) => {
    const headers = { "OpenSandbox-Ingress-To": `${id}-${sandbox.port}` };
    const response = await fetch(`${ingress.origin}/echo`, { headers, proxy: false });
    await response.arrayBuffer();
    return response.status;
  };
  await eventually(async () => (await ask(name)) === 200);
  const traffic = { running: true, requests: 0, failures: [] as string[] };
  const client = async () => {
    while (traffic.running) {
      const status = await ask(name).catch(String);
      traffic.requests += 1;
      if (status !== 200) traffic.failures.push(String(status));
    }
  };
  const clients = Array.from({ length: CLIENTS }, client);
  await server.kill();
  await Bun.sleep(OUTAGE_MS);
  await server.restart();
  const returnedMs = performance.now();
  await eventually(() => createObject(server, BATCH_SANDBOX, { namespace, name: "new", ...readyAt("127.0.0.1") }));
  await eventually(async () => (await ask("new")) === 200, { maxMs: 60_000 });
  const seenMs = performance.now() - returnedMs;
  traffic.running = false;
  await Promise.all(clients);
  await sandbox.stop();
  const { requests, failures } = traffic;
  const seen = `${requests} requests, ${failures.length} failed; a change was seen ${seenMs.toFixed(0)} ms after the return`;
  if (failures.length > 0) throw new Error(`${seen}: ${[...new Set(failures)].join(", ")}`);
  if (seenMs > RETURN_MAX_MS) throw new Error(`${seen}, which is more than ${RETURN_MAX_MS} ms`);
  return seen;
}

/** The table is correct although its connection is cut repeatedly. */
async function cuts(server: KubeApiServer, namespace: string): Promise<string> {
  await using gate = await openTcpGate(server.port);
  const kubeconfig = server.writeKubeconfig(namespace, { server: `https://127.0.0.1:${gate.port}` });
  await using bench = await startProviderBench({ server, kubeconfig, namespaces: [namespace] });
  await bench.synced();
  const exists = new Set<string>();
  const endMs = performance.now() + CUTS_MS;
  let nextCutMs = 0;
  let changes = 0;
  for (let i = 0; performance.now() < endMs; i++) {
    const name = `sandbox-${i % SANDBOXES}`;
    const spec = { namespace, name, ...readyAt(`10.0.${(i >> 8) & 255}.${i & 255}`) };
    if (!exists.has(name)) await createObject(server, BATCH_SANDBOX, spec);
    else if (i % 3 === 0) await deleteObject(server, BATCH_SANDBOX, spec);
    else await patchObject(server, BATCH_SANDBOX, spec);
    if (exists.has(name) && i % 3 === 0) exists.delete(name);
    else exists.add(name);
    changes += 1;
    if (performance.now() > nextCutMs) {
      gate.cut();
      nextCutMs = performance.now() + CUT_INTERVAL_MS;
    }
    await Bun.sleep(10);
  }
  await bench.settle();
  const lists = bench.logger.find("info", /listed/).length;
  return `${changes} changes over ${gate.accepted()} connections, ${lists} lists; the table equals the server`;
}

/** A silent connection is replaced. */
async function silence(server: KubeApiServer, namespace: string): Promise<string> {
  await using gate = await openTcpGate(server.port);
  const kubeconfig = server.writeKubeconfig(namespace, { server: `https://127.0.0.1:${gate.port}` });
  await using bench = await startProviderBench({ server, kubeconfig, namespaces: [namespace] });
  await bench.synced();
  gate.freeze();
  const startedMs = performance.now();
  await createObject(server, BATCH_SANDBOX, { namespace, name: "a", ...readyAt("10.0.0.1") });
  gate.thaw(); // the connection that there is stays silent, a new one would work
  await eventually(() => bench.look("a") === "10.0.0.1", { maxMs: 2 * SILENCE_MAX_MS });
  await bench.settle();
  const tookMs = performance.now() - startedMs;
  const seen = `replaced, and the table right, after ${(tookMs / 1000).toFixed(1)} s`;
  if (tookMs > SILENCE_MAX_MS) throw new Error(`${seen}, which is more than ${SILENCE_MAX_MS / 1000} s`);
  return seen;
}

async function main(names: readonly string[]): Promise<number> {
  const chosen = names.length === 0 ? Object.keys(CASES) : names;
  const dir = mkdtempSync(join(tmpdir(), "ingress-soak-"));
  let failed = 0;
  try {
    await using server = await startKubeApiServer({ dir });
    await installCrd(server, BATCH_SANDBOX);
    for (const name of chosen) {
      const run = CASES[name];
      if (run === undefined) throw new Error(`no such case: ${name}; there are ${Object.keys(CASES).join(", ")}`);
      const namespace = `soak-${name}`;
      await createNamespace(server, namespace);
      try {
        console.log(`ok    ${name.padEnd(8)} ${await run(server, namespace)}`);
      } catch (error) {
        failed += 1;
        console.log(`FAIL  ${name.padEnd(8)} ${error instanceof Error ? error.message : String(error)}`);
      }
    }
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
  return failed === 0 ? 0 : 1;
}

process.exitCode = await main(process.argv.slice(2));
