// record-memory.ts plain|policy: the heap that 100,000 records need in the table. Prints bytes of each as JSON. `policy`:
// each sandbox has all annotations of a policy.
import { heapStats } from "bun:jsc";
import { systemClock } from "../../../src/clock.ts";
import { projectBatchSandbox } from "../../../src/sandbox/projection/batch-sandbox.ts";
import { createEndpointRules } from "../../../src/sandbox/projection/endpoint-rules.ts";
import type { SandboxRecord } from "../../../src/sandbox/provider.ts";
import { SandboxTable } from "../../../src/sandbox/table.ts";
import { endWithParent } from "./child-process.ts";
import { POLICY_ANNOTATIONS } from "./stage.ts";

const RECORDS = 100_000;
/** Compiles the code and fills caches, so that only records are counted. */
const WARM_UP_RECORDS = 1_000;

const endpoints = createEndpointRules({ clock: systemClock, clusterDomain: "cluster.local", allowLoopback: false });
const table = new SandboxTable();
const policy = process.argv[2] === "policy" ? POLICY_ANNOTATIONS : {};

function projectOne(index: number): SandboxRecord {
  // As long as the UUIDs that OpenSandbox uses. Each object is parsed from text, as the watch does.
  const name = `${index.toString(16).padStart(8, "0")}-5c1e-4f0a-9d7b-3a1f6e2b8c4d`;
  const address = `10.${index >> 16}.${(index >> 8) & 255}.${index & 255}`;
  const text = JSON.stringify({
    apiVersion: "sandbox.opensandbox.io/v1alpha1",
    kind: "BatchSandbox",
    metadata: {
      name,
      namespace: "bench",
      uid: `uid-${name}`,
      annotations: { "sandbox.opensandbox.io/endpoints": JSON.stringify([address]), ...policy },
    },
    status: { replicas: 1, ready: 1 },
  });
  const options = { endpoints, shareNamespace: (namespace: string) => table.shareNamespace(namespace) };
  const { record, warning } = projectBatchSandbox(JSON.parse(text), options);
  if (record === undefined || warning !== undefined) throw new Error(`Cannot measure records: ${warning}`);
  return record;
}

function fill(count: number): void {
  const replacement = table.beginReplace(undefined);
  for (let index = 0; index < count; index++) replacement.add(projectOne(index));
  replacement.commit();
}

function heapBytes(): number {
  Bun.gc(true);
  const { heapSize, extraMemorySize } = heapStats();
  return heapSize + extraMemorySize;
}

fill(WARM_UP_RECORDS);
fill(0);
const before = heapBytes();
fill(RECORDS);
console.log(JSON.stringify({ bytesEach: (heapBytes() - before) / RECORDS }));
endWithParent();
