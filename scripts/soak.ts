// soak.ts: checks that take too long for a test. `./scripts/soak --help` describes them; exit code 0 or 1.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";

import { parseDurationMs } from "../src/config/values.ts";
import { createAddressSwap } from "./lib/stage/address-swap.ts";
import { eventually } from "./lib/eventually.ts";
import { type IngressProcess, isAnswering, startIngressProcess } from "./lib/ingress-process.ts";
import { expectNothingOpen } from "./lib/leaks/nothing-open.ts";
import { soakLeaks } from "./lib/leaks/soak-leaks.ts";
import { startProxy } from "./lib/stage/proxy-harness.ts";
import { createRandom, type Random } from "./lib/stage/random.ts";
import { openRaw, rawRequest } from "./lib/stage/raw-client.ts";
import { batchSandbox } from "./lib/stage/sandbox-objects.ts";
import { startUpstreamServer, UPSTREAM_SERVERS } from "./lib/stage/upstream-servers.ts";

const BINARY = process.env["INGRESS_BINARY"] ?? join(import.meta.dir, "../dist/ingress");
const GIGABYTE = 1024 ** 3;
const BLOCK = new Uint8Array(1024 * 1024).fill(0x61);
/** Bound on resident memory while gigabytes pass: an idle ingress, about 10 MB per stream, and garbage. */
const TRANSFER_RESIDENT_MAX_BYTES = 400 * 1024 * 1024;
const STREAMS = 2_000;
/** Plain requests in the median. */
const SAMPLES = 200;
/** How many times as long a plain request beside the streams may take, on a machine that also does other things. */
const STREAMS_DELAY_RATIO_MAX = 3;

interface SoakOptions {
  readonly random: Random;
  readonly durationMs: number;
  readonly gigabytes: number;
}

/** Returns a line about the result. Throws if it is wrong. */
type Case = (options: SoakOptions) => Promise<string>;

const CASES: Readonly<Record<string, Case>> = {
  transfer,
  "keep-alive": keepAlive,
  streams,
  swap,
  leaks: (options) => soakLeaks(BINARY, options),
};

/** An ingress with one sandbox, `soak`, on 127.0.0.1. */
async function startStage(): Promise<IngressProcess> {
  const dir = mkdtempSync(join(tmpdir(), "ingress-soak-"));
  const manifest = batchSandbox({ name: "soak", namespace: "soak", endpoints: '["127.0.0.1"]' });
  writeFileSync(join(dir, "soak.json"), JSON.stringify(manifest));
  const flags = [`--manifests=${dir}`, "--max-requests-per-sandbox=0", "--log-level=error", "--shutdown-delay=0"];
  const ingress = await startIngressProcess(BINARY, flags);
  await eventually(() => isAnswering(`${ingress.adminOrigin}/readyz`));
  return {
    ...ingress,
    async [Symbol.asyncDispose]() {
      await ingress[Symbol.asyncDispose]();
      rmSync(dir, { recursive: true });
    },
  };
}

const portOf = (ingress: IngressProcess): number => Number(new URL(ingress.origin).port);

async function residentBytes(ingress: IngressProcess): Promise<number> {
  const status = await Bun.file(`/proc/${ingress.pid}/status`).text();
  return Number(/VmHWM:\s+(\d+)/.exec(status)?.[1] ?? 0) * 1024;
}

/** Gigabytes in both directions: every byte arrives, and the ingress holds only a little of it. */
async function transfer({ gigabytes }: SoakOptions): Promise<string> {
  await using ingress = await startStage();
  const total = gigabytes * GIGABYTE;
  using sandbox = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    idleTimeout: 0,
    maxRequestBodySize: Number.MAX_SAFE_INTEGER,
    async fetch(request) {
      if (request.method === "GET") return new Response(endlessBlocks(total));
      let bytes = 0;
      const body: ReadableStream<Uint8Array> | null = request.body;
      if (body !== null) for await (const chunk of body) bytes += chunk.byteLength;
      return new Response(String(bytes));
    },
  });
  const headers = { "OpenSandbox-Ingress-To": `soak-${sandbox.port}` };
  let received = 0;
  const startedDown = performance.now();
  const down = await fetch(`${ingress.origin}/`, { headers, timeout: false });
  const body: ReadableStream<Uint8Array> | null = down.body;
  if (body !== null) for await (const chunk of body) received += chunk.byteLength;
  const downSeconds = (performance.now() - startedDown) / 1000;
  const startedUp = performance.now();
  const up = await fetch(`${ingress.origin}/`, { method: "PUT", headers, body: endlessBlocks(total), timeout: false });
  const sent = Number(await up.text());
  const upSeconds = (performance.now() - startedUp) / 1000;
  const resident = await residentBytes(ingress);
  const seen = `${received} bytes down in ${downSeconds.toFixed(1)} s, ${sent} up in ${upSeconds.toFixed(1)} s, at most ${(resident / 2 ** 20).toFixed(0)} MiB resident`;
  if (received !== total || sent !== total) throw new Error(`${seen}: expected ${total} each`);
  if (resident > TRANSFER_RESIDENT_MAX_BYTES) throw new Error(`${seen}: more than bounded`);
  await expectNothingOpen(ingress);
  return seen;
}

function endlessBlocks(total: number): ReadableStream<Uint8Array> {
  let left = total;
  return new ReadableStream<Uint8Array>(
    {
      pull(controller) {
        if (left <= 0) return controller.close();
        left -= BLOCK.length;
        controller.enqueue(BLOCK);
      },
    },
    { highWaterMark: 0 },
  );
}

/** POSTs with pauses around the time at which each server closes an idle connection. */
async function keepAlive({ random, durationMs }: SoakOptions): Promise<string> {
  await using ingress = await startStage();
  const lines: string[] = [];
  for (const kind of UPSTREAM_SERVERS) {
    const server = await startUpstreamServer(kind);
    if (server === undefined) {
      lines.push(`${kind.name}: not installed (${kind.get})`);
      continue;
    }
    try {
      lines.push(await raceAgainst(server, { ingress, random, durationMs, idleMs: kind.idleMs }));
    } finally {
      await server.stop();
    }
  }
  await expectNothingOpen(ingress);
  return lines.join("; ");
}

async function raceAgainst(
  server: { readonly name: string; readonly port: number; readonly seen: () => Promise<readonly string[]> },
  options: { ingress: IngressProcess; random: Random; durationMs: number; idleMs: number },
): Promise<string> {
  const { ingress, random, idleMs } = options;
  const deadline = performance.now() + options.durationMs;
  const sent: string[] = [];
  const failed: string[] = [];
  // Several clients with different pauses, from half a second before the limit to half a second after it.
  const client = async (id: number): Promise<void> => {
    const connection = await openRaw(portOf(ingress));
    for (let n = 0; performance.now() < deadline; n++) {
      const body = `${id}-${n}`;
      sent.push(body);
      connection.write(
        `POST / HTTP/1.1\r\nHost: x\r\nOpenSandbox-Ingress-To: soak-${server.port}\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
      );
      const answer = await connection.readAnswer();
      if (answer.status !== 200) failed.push(`${body}: ${answer.status} ${answer.body.trim()}`);
      await Bun.sleep(Math.max(0, idleMs - 500 + random.integer(1_000)));
    }
    connection.destroy();
  };
  await Promise.all(Array.from({ length: 8 }, (_, id) => client(id)));
  const seen = await server.seen();
  const lost = sent.length - new Set(seen).size;
  const doubled = seen.length - new Set(seen).size;
  const line = `${server.name}: ${sent.length} POSTs, ${failed.length} failed, ${lost} lost, ${doubled} doubled`;
  if (failed.length + lost + doubled > 0) throw new Error(`${line} ${failed.slice(0, 3).join(", ")}`);
  return line;
}

/** A plain request beside thousands of quiet streams takes as long as without them. */
async function streams(): Promise<string> {
  await using ingress = await startStage();
  using sandbox = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    idleTimeout: 0,
    fetch(request) {
      if (!request.url.endsWith("/events")) return new Response("ok");
      return new Response(new ReadableStream<string>({ start: (controller) => controller.enqueue("first\n\n") }));
    },
  });
  const request = (path: string): string =>
    `GET ${path} HTTP/1.1\r\nHost: x\r\nOpenSandbox-Ingress-To: soak-${sandbox.port}\r\n\r\n`;
  const median = async (): Promise<number> => {
    const times: number[] = [];
    for (let n = 0; n < SAMPLES; n++) {
      const startedAt = performance.now();
      await rawRequest(portOf(ingress), request("/plain"));
      times.push(performance.now() - startedAt);
    }
    return times.toSorted((a, b) => a - b)[SAMPLES / 2] ?? 0;
  };
  await median();
  const alone = await median();
  const before = await residentBytes(ingress);
  const open = [];
  for (let n = 0; n < STREAMS; n++) {
    const connection = await openRaw(portOf(ingress));
    connection.write(request("/events"));
    open.push(connection);
  }
  await Promise.all(open.map((connection) => connection.until((text) => text.includes("first"))));
  const beside = await median();
  const perStream = ((await residentBytes(ingress)) - before) / STREAMS / 1024;
  const cut = open.filter((connection) => connection.isClosed).length;
  for (const connection of open) connection.destroy();
  if (cut > 0) throw new Error(`${cut} of ${STREAMS} streams were cut`);
  const seen = `${STREAMS} streams: a plain request takes ${(beside / alone).toFixed(2)} times as long, ${perStream.toFixed(1)} KiB a stream`;
  if (beside / alone > STREAMS_DELAY_RATIO_MAX) throw new Error(seen);
  await expectNothingOpen(ingress);
  return seen;
}

/** Two sandboxes swap two addresses while requests and tunnels are open: nothing crosses. */
async function swap({ random, durationMs }: SoakOptions): Promise<string> {
  await using proxy = startProxy();
  await using stage = createAddressSwap(proxy);
  const deadline = performance.now() + durationMs;
  const isOver = (): boolean => performance.now() >= deadline || stage.tally.wrong.length > 0;
  const loads = ([0, 1] as const).flatMap((sandbox) => [
    ...Array.from({ length: 6 }, () => stage.loadWithRequests(sandbox, isOver)),
    ...Array.from({ length: 3 }, () => stage.loadWithTunnel(sandbox, isOver)),
  ]);
  let swaps = 0;
  for (; !isOver(); swaps++) {
    const goal = stage.tally.good + random.integer(20);
    await eventually(() => stage.tally.good >= goal || isOver());
    stage.swap();
  }
  await Promise.all(loads);
  const { good, ended, wrong } = stage.tally;
  const seen = `${swaps} swaps, ${good} answers, ${ended} requests and tunnels ended, ${wrong.length} from the wrong address`;
  if (wrong.length > 0) throw new Error(`${seen}: ${wrong.slice(0, 3).join(", ")}`);
  await eventually(() => Object.values(proxy.server.counters()).every((count) => count === 0));
  return seen;
}

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      seed: { type: "string", default: "1" },
      duration: { type: "string", default: "60s" },
      gigabytes: { type: "string", default: "10" },
    },
  });
  const unknown = positionals.filter((name) => !Object.hasOwn(CASES, name));
  if (unknown.length > 0) {
    console.error(`soak: there is no case ${unknown.join(", ")}; ./scripts/soak --help lists them`);
    return 2;
  }
  const names = positionals.length === 0 ? Object.keys(CASES) : positionals;
  const options: SoakOptions = {
    random: createRandom(Number(values.seed)),
    durationMs: parseDurationMs(values.duration),
    gigabytes: Number(values.gigabytes),
  };
  console.log(`seed ${values.seed}, duration ${values.duration}`);
  let failures = 0;
  for (const name of names) {
    try {
      console.log(`ok    ${name}: ${await CASES[name]?.(options)}`);
    } catch (error) {
      failures++;
      console.log(`FAIL  ${name}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  return failures === 0 ? 0 : 1;
}

process.exit(await main());
