import { beforeAll, expect, test } from "bun:test";
import { chmodSync } from "node:fs";
import { join } from "node:path";

import { buildBinary } from "../support/binary.ts";
import { eventually } from "../../scripts/lib/eventually.ts";
import { type IngressProcess, isAnswering, startIngressProcess } from "../../scripts/lib/ingress-process.ts";
import { headerValues, openRaw, type RawConnection } from "../../scripts/lib/stage/raw-client.ts";
import { startSampleStage } from "../support/sample-manifests.ts";
import { tempDir } from "../support/temp-dir.ts";

/** 64 of them are to stay free, 32 are held in reserve, and some 20 are the program's own. */
const DESCRIPTORS = 200;
/** More than there are descriptors, and less than a queue of the kernel's takes. */
const FLOOD = 400;
/** Short, and not exhausted. */
const KEPT_ALIVE = 100;
const TEST_MAX_MS = 60_000;

let binary: string;
beforeAll(async () => {
  binary = await buildBinary();
});

/** Starts an ingress that may have few descriptors; `limit` is an argument of `ulimit`. */
async function startLimited(limit: string, manifests: string): Promise<IngressProcess> {
  using dir = tempDir();
  const script = join(dir.path, "limited");
  await Bun.write(script, `#!/bin/sh\nulimit ${limit}\nexec '${binary}' "$@"\n`);
  chmodSync(script, 0o755);
  const ingress = await startIngressProcess(script, [`--manifests=${manifests}`]);
  await eventually(() => isAnswering(`${ingress.adminOrigin}/readyz`));
  return ingress;
}

async function metricOf(ingress: IngressProcess, name: string): Promise<number> {
  const text = await (await fetch(`${ingress.adminOrigin}/metrics`, { proxy: false, keepalive: false })).text();
  const line = text.split("\n").find((each) => each.startsWith(`opensandbox_ingress_${name}`));
  return Number(line?.split(" ").at(1) ?? Number.NaN);
}

const EXHAUSTIONS = 'process_descriptor_shortage_count_total{pressure="exhausted"';
const portOf = (ingress: IngressProcess): number => Number(new URL(ingress.origin).port);

/** Opens connections one after the other until the port refuses, at most `count`. */
async function openMany(count: number, port: number): Promise<RawConnection[]> {
  const connections: RawConnection[] = [];
  try {
    while (connections.length < count) connections.push(await openRaw(port));
  } catch {
    // Refused, which is what the flood is for.
  }
  return connections;
}

function countLines(ingress: IngressProcess, text: string): number {
  return ingress.readOutput().split(text).length - 1;
}

test(
  "ingress refuses connections rather than run out of descriptors, answers probes meanwhile, and serves what it has",
  async () => {
    await using stage = await startSampleStage();
    await using ingress = await startLimited(`-n ${DESCRIPTORS}`, stage.manifests);
    const port = portOf(ingress);
    const events = await openRaw(port);
    events.write(`GET /events?interval=100 HTTP/1.1\r\nHost: x\r\nOpenSandbox-Ingress-To: ${stage.route}\r\n\r\n`);
    await events.until((text) => text.includes('"sequence":1'));

    // Silent ones: no head has come, so nothing of ours has ever seen them.
    const silent = await openMany(FLOOD, port);
    expect(silent.length).toBeGreaterThan(50);
    await eventually(async () => (await metricOf(ingress, EXHAUSTIONS)) === 1);
    expect(await openMany(1, port)).toEqual([]);
    for (let probe = 0; probe < 20; probe++) expect(await isAnswering(`${ingress.adminOrigin}/livez`)).toBe(true);
    expect(await metricOf(ingress, "process_descriptor_limit")).toBe(DESCRIPTORS);
    expect(await metricOf(ingress, "process_descriptor_open")).toBeLessThan(DESCRIPTORS);
    const seen = Number(/.*"sequence":(\d+)/s.exec(events.received)?.[1]);
    await events.until((text) => text.includes(`"sequence":${seen + 3}`));
    expect(events.isClosed).toBe(false);
    expect(countLines(ingress, "file descriptors are exhausted")).toBe(1);

    for (const connection of silent) connection.destroy();
    await eventually(() => isAnswering(`${ingress.origin}/status.ok`));
    await eventually(() => countLines(ingress, "file descriptors are free again") === 1);
    events.destroy();
  },
  TEST_MAX_MS,
);

test(
  "ingress recovers by itself from clients that are silent and stay",
  async () => {
    await using stage = await startSampleStage();
    await using ingress = await startLimited(`-n ${DESCRIPTORS}`, stage.manifests);
    const silent = await openMany(FLOOD, portOf(ingress));
    await eventually(async () => (await metricOf(ingress, EXHAUSTIONS)) >= 1);
    // Bun gives the first head of a connection about 12 s.
    await eventually(() => isAnswering(`${ingress.origin}/status.ok`), { maxMs: TEST_MAX_MS / 2 });
    for (const connection of silent) connection.destroy();
  },
  TEST_MAX_MS,
);

test(
  "ingress closes idle connections when descriptors are short, and says so in answers, metrics and one log line",
  async () => {
    await using stage = await startSampleStage();
    await using ingress = await startLimited(`-n ${DESCRIPTORS}`, stage.manifests);
    const port = portOf(ingress);
    const idle = await openMany(KEPT_ALIVE, port);
    for (const connection of idle) connection.write("GET /status.ok HTTP/1.1\r\nHost: x\r\n\r\n");
    await Promise.all(idle.map((connection) => connection.closed()));
    expect(await metricOf(ingress, "connections_idle_closed_count_total")).toBeGreaterThan(0);
    expect(await metricOf(ingress, EXHAUSTIONS)).toBe(0);
    expect(countLines(ingress, "file descriptors are short")).toBe(1);

    // Silent connections cannot be closed: they hold the shortage while a request is answered.
    const silent = await openMany(KEPT_ALIVE, port);
    await eventually(async () => {
      const client = await openRaw(port);
      client.write("GET /status.ok HTTP/1.1\r\nHost: x\r\n\r\n");
      const answer = await client.readAnswer();
      client.destroy();
      return headerValues(answer, "connection").includes("close");
    });
    for (const connection of silent) connection.destroy();
    await eventually(async () => {
      const client = await openRaw(port);
      client.write("GET /status.ok HTTP/1.1\r\nHost: x\r\n\r\n");
      const answer = await client.readAnswer();
      client.destroy();
      return headerValues(answer, "connection").length === 0;
    });
  },
  TEST_MAX_MS,
);

test("ingress raises a soft limit of descriptors to the hard one", async () => {
  await using stage = await startSampleStage();
  await using ingress = await startLimited("-Sn 256", stage.manifests);
  expect(await metricOf(ingress, "process_descriptor_limit")).toBeGreaterThan(256);
});

test(
  "ingress stops cleanly while it refuses connections",
  async () => {
    await using stage = await startSampleStage();
    await using ingress = await startLimited(`-n ${DESCRIPTORS}`, stage.manifests);
    const silent = await openMany(FLOOD, portOf(ingress));
    await eventually(async () => (await metricOf(ingress, EXHAUSTIONS)) >= 1);
    ingress.kill("SIGTERM");
    expect(await ingress.exited).toBe(0);
    for (const connection of silent) connection.destroy();
  },
  TEST_MAX_MS,
);
