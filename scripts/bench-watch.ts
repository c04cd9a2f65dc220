// bench-watch.ts: the table of sandboxes against a real API server, for `./scripts/bench watch`.
import { heapStats } from "bun:jsc";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "../src/clock.ts";
import { createKubeClient } from "../src/kube/client.ts";
import { silentLogger } from "../src/log/logger.ts";
import { createEndpointRules } from "../src/sandbox/projection/endpoint-rules.ts";
import { createKubernetesProvider } from "../src/sandbox/kubernetes/provider.ts";
import type { SandboxProvider } from "../src/sandbox/provider.ts";
import { startKubeApiServer, type KubeApiServer } from "./lib/kube/kube-api-server.ts";
import {
  BATCH_SANDBOX,
  createNamespace,
  createObject,
  deleteObject,
  installCrd,
  patchObject,
  readyAt,
} from "./lib/kube/kube-resources.ts";

/** Sandboxes in the large namespace; `--sandboxes N` changes it. */
const SANDBOXES = 100_000;
/** Objects that change beside the one whose latency is measured, and how often, in changes a second. */
const BUSY_OBJECTS = 2000;
const BUSY_PER_SECOND = 50;
const LATENCY_ROUNDS = 100;
/** After writing 100,000 objects into etcd, before measuring anything else; milliseconds. */
const SETTLE_MS = 20_000;
const LOOKUPS = 2_000_000;
/** What one transaction of etcd takes at most. */
const TRANSACTION_MAX = 120;
/** The provider has to be done with anything asked of it within this time. */
const WAIT_MAX_MS = 300_000;

const MIB = 1024 * 1024;
const EMPTY_NAMESPACE = "empty";
const SMALL_NAMESPACE = "small";
const LARGE_NAMESPACE = "large";

/** What the measured process says when it is asked. */
interface Report {
  readonly syncMs: number;
  /** User and system time of the process, from its start. */
  readonly cpuMs: number;
  readonly rssSettledMib: number;
  readonly rssPeakMib: number;
  readonly heapBytes: number;
  readonly lookupNs: number;
  readonly count: number;
}

function createProvider(kubeconfig: string, namespace: string): SandboxProvider {
  return createKubernetesProvider({
    client: createKubeClient({ kubeconfig, environment: {} }),
    providerType: "batchsandbox",
    namespaces: [namespace],
    allNamespaces: false,
    endpoints: createEndpointRules({ clock: systemClock, clusterDomain: "cluster.local", allowLoopback: false }),
    logger: silentLogger,
  });
}

function nameOf(index: number): string {
  // As long as the UUIDs that OpenSandbox uses.
  return `${index.toString(16).padStart(8, "0")}-5c1e-4f0a-9d7b-3a1f6e2b8c4d`;
}

/** The address of a sandbox after so many rounds of changes. */
function endpointOf(index: number, round: number): string {
  return `10.${2 * round + (index >> 16)}.${(index >> 8) & 255}.${index & 255}`;
}

/** An object as kube-apiserver stores it: about what OpenSandbox writes, bookkeeping included. */
function storedObject(namespace: string, index: number, round: number): string {
  const time = "2026-01-01T00:00:00Z";
  const labels = { "opensandbox.io/id": nameOf(index), "app.kubernetes.io/managed-by": "opensandbox-server" };
  const env = Array.from({ length: 12 }, (_, i) => ({ name: `VARIABLE_${i}`, value: `value of the variable ${i}` }));
  const container = { name: "sandbox", image: "registry.example/sandbox:1.2.3", command: ["/opt/execd"], env };
  const fields = {
    "f:metadata": { "f:annotations": { ".": {}, "f:sandbox.opensandbox.io/endpoints": {} } },
    "f:spec": {},
  };
  return JSON.stringify({
    apiVersion: "sandbox.opensandbox.io/v1alpha1",
    kind: "BatchSandbox",
    metadata: {
      name: nameOf(index),
      namespace,
      uid: `${nameOf(index).slice(0, 24)}${index.toString(16).padStart(12, "0")}`,
      creationTimestamp: time,
      generation: 1,
      labels,
      annotations: { "sandbox.opensandbox.io/endpoints": JSON.stringify([endpointOf(index, round)]) },
      managedFields: [
        { manager: "server", operation: "Update", apiVersion: "v1", time, fieldsType: "FieldsV1", fieldsV1: fields },
      ],
    },
    spec: { replicas: 1, expireTime: time, template: { metadata: { labels }, spec: { containers: [container] } } },
    status: { replicas: 1, allocated: 1, ready: 1, phase: "Succeed", observedGeneration: 1 },
  });
}

/** Through the API this would take minutes; what the API server reads in etcd is what it would have written. */
async function seed(
  server: KubeApiServer,
  options: { namespace: string; count: number; round: number },
): Promise<void> {
  const { namespace, count, round } = options;
  for (let start = 0; start < count; start += TRANSACTION_MAX) {
    const length = Math.min(TRANSACTION_MAX, count - start);
    await server.putIntoEtcd(
      Array.from({ length }, (_, i) => [
        `/registry/sandbox.opensandbox.io/batchsandboxes/${namespace}/${nameOf(start + i)}`,
        storedObject(namespace, start + i, round),
      ]),
    );
  }
}

async function until(isDone: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = performance.now() + WAIT_MAX_MS;
  while (!(await isDone())) {
    if (performance.now() > deadline) throw new Error(`Cannot go on: not done after ${WAIT_MAX_MS / 1000} s`);
    await Bun.sleep(1);
  }
}

/** The measured process: nothing but the provider. Reports when synced, and when an object gets an address. */
async function measured(kubeconfig: string, namespace: string): Promise<void> {
  const startedMs = performance.now();
  const provider = createProvider(kubeconfig, namespace);
  let rssPeak = 0;
  const sampling = setInterval(() => {
    rssPeak = Math.max(rssPeak, process.memoryUsage.rss());
  }, 20);
  await provider.start();
  await provider.whenSynced(WAIT_MAX_MS);
  const syncMs = performance.now() - startedMs;
  const cpuMs = cpuTimeMs();
  const rssAtSync = process.memoryUsage.rss();
  rssPeak = Math.max(rssPeak, rssAtSync);
  await Bun.sleep(5000); // the collector's own pace
  clearInterval(sampling);
  const rssSettled = process.memoryUsage.rss();
  Bun.gc(true);
  const heapBytes = heapStats().heapSize + heapStats().extraMemorySize;
  const { ready, notReady } = provider.counts();
  const count = ready + notReady;
  const report: Report = {
    syncMs,
    cpuMs,
    rssSettledMib: rssSettled / MIB,
    rssPeakMib: rssPeak / MIB,
    heapBytes,
    lookupNs: measureLookups(provider, count),
    count,
  };
  console.log(JSON.stringify(report));
  // Then: `name address` a line; answers `done` when the object has got it.
  for await (const line of console) {
    const [name = "", endpoint = ""] = line.split(" ");
    await until(() => {
      const resolution = provider.resolve(name);
      return resolution.state === "found" && resolution.record.endpoint === endpoint;
    });
    console.log(`done ${process.memoryUsage.rss() / MIB} ${cpuTimeMs()}`);
  }
  await provider.stop();
}

function cpuTimeMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

function measureLookups(provider: SandboxProvider, count: number): number {
  if (count === 0) return 0;
  const names = Array.from({ length: 4096 }, (_, i) => nameOf((i * 7919) % count));
  let found = 0;
  for (let round = 0; round < 2; round++) {
    const startedMs = performance.now();
    for (let i = 0; i < LOOKUPS; i++) if (provider.resolve(names[i & 4095] ?? "").state === "found") found += 1;
    if (round === 1) {
      if (found !== 2 * LOOKUPS) throw new Error("Cannot measure look-ups: not all were found");
      return ((performance.now() - startedMs) / LOOKUPS) * 1e6;
    }
  }
  return 0;
}

interface Child extends Disposable {
  readonly report: Report;
  /** Waits until the object has the address; gives the child's answer. */
  waitFor(name: string, endpoint: string): Promise<{ readonly rssMib: number; readonly cpuMs: number }>;
}

async function startMeasured(kubeconfig: string, namespace: string): Promise<Child> {
  const command = [process.execPath, import.meta.path, "--measured", kubeconfig, namespace];
  const child = Bun.spawn(command, { stdin: "pipe", stdout: "pipe", stderr: "inherit" });
  const lines = readLines(child.stdout);
  const next = async () => {
    const { value, done } = await lines.next();
    if (done === true) throw new Error("Cannot measure: the process has ended");
    return value;
  };
  const report = parseReport(await next());
  return {
    report,
    async waitFor(name, endpoint) {
      await child.stdin.write(`${name} ${endpoint}\n`);
      await child.stdin.flush();
      const [, rss, cpu] = (await next()).split(" ");
      return { rssMib: Number(rss), cpuMs: Number(cpu) };
    },
    [Symbol.dispose]: () => child.kill(),
  };
}

function parseReport(text: string): Report {
  const values: unknown = JSON.parse(text);
  const numbers = new Map(Object.entries(typeof values === "object" && values !== null ? values : {}));
  const read = (name: keyof Report) => Number(numbers.get(name));
  return {
    syncMs: read("syncMs"),
    cpuMs: read("cpuMs"),
    rssSettledMib: read("rssSettledMib"),
    rssPeakMib: read("rssPeakMib"),
    heapBytes: read("heapBytes"),
    lookupNs: read("lookupNs"),
    count: read("count"),
  };
}

async function* readLines(stream: ReadableStream<Uint8Array>): AsyncGenerator<string, void, undefined> {
  let rest = "";
  const decoder = new TextDecoder();
  for await (const chunk of stream) {
    const parts = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = parts.pop() ?? "";
    yield* parts;
  }
}

function say(what: string, value: string, target = ""): void {
  console.log(`${what.padEnd(58)} ${value.padStart(12)}${target === "" ? "" : `   target ${target}`}`);
}

async function benchScale(server: KubeApiServer, kubeconfig: string, sandboxes: number): Promise<void> {
  using empty = await startMeasured(kubeconfig, EMPTY_NAMESPACE);
  using small = await startMeasured(kubeconfig, SMALL_NAMESPACE);
  using large = await startMeasured(kubeconfig, LARGE_NAMESPACE);
  const { report } = large;
  if (report.count !== sandboxes)
    throw new Error(`Cannot measure: ${report.count} of ${sandboxes} sandboxes are there`);
  say(`start to synced, ${sandboxes} sandboxes`, `${(report.syncMs / 1000).toFixed(2)} s`);
  say("  objects a second", (sandboxes / (report.syncMs / 1000)).toFixed(0));
  const cpuMs = report.cpuMs - empty.report.cpuMs;
  say("  of it processor time of the ingress, parsing and garbage", `${(cpuMs / 1000).toFixed(2)} s`);
  say("resident memory, no sandboxes", `${empty.report.rssSettledMib.toFixed(0)} MiB`);
  say("resident memory, highest while syncing", `${report.rssPeakMib.toFixed(0)} MiB`);
  say("resident memory, 5 s after the sync", `${report.rssSettledMib.toFixed(0)} MiB`, "< 220 MB");
  const perSandbox = (report.heapBytes - empty.report.heapBytes) / sandboxes;
  say("heap a sandbox", `${perSandbox.toFixed(0)} B`, "<= 400 B");
  say(`look-up, ${small.report.count} sandboxes`, `${small.report.lookupNs.toFixed(0)} ns`);
  say(`look-up, ${report.count} sandboxes`, `${report.lookupNs.toFixed(0)} ns`);

  const last = { name: nameOf(sandboxes - 1), endpoint: endpointOf(sandboxes - 1, 2) };
  const before = await large.waitFor(nameOf(0), endpointOf(0, 1));
  const startedMs = performance.now();
  await seed(server, { namespace: LARGE_NAMESPACE, count: sandboxes, round: 2 });
  const writtenMs = performance.now() - startedMs;
  const after = await large.waitFor(last.name, last.endpoint);
  const seenMs = performance.now() - startedMs;
  say(`${sandboxes} changes written to etcd in`, `${(writtenMs / 1000).toFixed(2)} s`);
  say("  the last one seen after", `${(seenMs / 1000).toFixed(2)} s`);
  say("events a second, as fast as they could be written", (sandboxes / (seenMs / 1000)).toFixed(0));
  say("  of it processor time of the ingress", `${((after.cpuMs - before.cpuMs) / 1000).toFixed(2)} s`);
  say("resident memory after them", `${after.rssMib.toFixed(0)} MiB`);
}

async function benchLatency(server: KubeApiServer, kubeconfig: string): Promise<void> {
  const namespace = "busy";
  await createNamespace(server, namespace);
  await seed(server, { namespace, count: BUSY_OBJECTS, round: 1 });
  const provider = createProvider(kubeconfig, namespace);
  await provider.start();
  await provider.whenSynced(WAIT_MAX_MS);
  await until(() => provider.counts().ready === BUSY_OBJECTS);
  let changes = 0;
  const busy = setInterval(() => {
    const name = nameOf(changes++ % BUSY_OBJECTS);
    void patchObject(server, BATCH_SANDBOX, { namespace, name, annotations: { change: String(changes) } });
  }, 1000 / BUSY_PER_SECOND);
  const look = () => {
    const resolution = provider.resolve("probe");
    return resolution.state === "found" ? (resolution.record.ready ? resolution.record.endpoint : "") : undefined;
  };
  const times: number[] = [];
  const measure = async (act: () => Promise<unknown>, wanted: string | undefined) => {
    const startedMs = performance.now();
    await act();
    await until(() => look() === wanted);
    times.push(performance.now() - startedMs);
  };
  const probe = { namespace, name: "probe" };
  for (let round = 0; round < LATENCY_ROUNDS; round++) {
    await measure(() => createObject(server, BATCH_SANDBOX, { ...probe, ...readyAt("10.9.0.1") }), "10.9.0.1");
    await measure(() => patchObject(server, BATCH_SANDBOX, { ...probe, ...readyAt("10.9.0.2") }), "10.9.0.2");
    await measure(() => deleteObject(server, BATCH_SANDBOX, probe), undefined);
  }
  clearInterval(busy);
  await provider.stop();
  times.sort((a, b) => a - b);
  const at = (share: number) => `${(times[Math.floor(times.length * share)] ?? 0).toFixed(1)} ms`;
  say(`request sent to change seen, p50 (${changes} other changes)`, at(0.5));
  say("request sent to change seen, p99", at(0.99), "< 250 ms");
}

async function main(): Promise<void> {
  const flag = process.argv.indexOf("--sandboxes");
  const sandboxes = flag < 0 ? SANDBOXES : Number(process.argv[flag + 1]);
  const dir = mkdtempSync(join(tmpdir(), "ingress-bench-"));
  try {
    await using server = await startKubeApiServer({ dir });
    await installCrd(server, BATCH_SANDBOX);
    for (const namespace of [EMPTY_NAMESPACE, SMALL_NAMESPACE, LARGE_NAMESPACE])
      await createNamespace(server, namespace);
    const kubeconfig = server.writeKubeconfig("bench");
    await benchLatency(server, kubeconfig);
    await seed(server, { namespace: SMALL_NAMESPACE, count: Math.min(1000, sandboxes), round: 1 });
    await seed(server, { namespace: LARGE_NAMESPACE, count: sandboxes, round: 1 });
    await Bun.sleep(SETTLE_MS); // the API server still takes in what was written behind its back
    await benchScale(server, kubeconfig, sandboxes);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

const [, , mode = "", kubeconfig = "", namespace = ""] = process.argv;
if (mode === "--measured") await measured(kubeconfig, namespace);
else await main();
