import { beforeAll, expect, test } from "bun:test";

import { buildBinary } from "../support/binary.ts";
import { eventually } from "../../scripts/lib/eventually.ts";
import { type IngressProcess, isAnswering, startIngressProcess } from "../../scripts/lib/ingress-process.ts";
import { openRaw, type RawConnection, rawRequest } from "../../scripts/lib/stage/raw-client.ts";
import { startSampleStage } from "../support/sample-manifests.ts";
import { tempDir } from "../support/temp-dir.ts";

/** Bun's own bound on simultaneous fetches is 256; these are far beyond it. */
const STREAMS = 2_000;
const HANGING = 500;
const HALF_HEADS = 500;
const SLOW_READERS = 1_000;
const TEST_MAX_MS = 120_000;

let binary: string;
beforeAll(async () => {
  binary = await buildBinary();
});

const portOf = (ingress: IngressProcess): number => Number(new URL(ingress.origin).port);

/** Opens connections a hundred at a time, so that no accept queue overflows. */
async function openMany(count: number, port: number, request: string): Promise<RawConnection[]> {
  const all: RawConnection[] = [];
  while (all.length < count) {
    const some = await Promise.all(Array.from({ length: Math.min(100, count - all.length) }, () => openRaw(port)));
    for (const connection of some) connection.write(request);
    all.push(...some);
  }
  return all;
}

/** What an open, plain request gets while something else goes on. */
async function expectServed(ingress: IngressProcess, route: string): Promise<void> {
  const answer = await rawRequest(
    portOf(ingress),
    `GET /echo HTTP/1.1\r\nHost: x\r\nOpenSandbox-Ingress-To: ${route}\r\n\r\n`,
  );
  expect(answer.status).toBe(200);
}

async function startReadyIngress(manifests: string): Promise<IngressProcess> {
  const flags = [`--manifests=${manifests}`, "--max-requests-per-sandbox=0", "--log-level=error"];
  const ingress = await startIngressProcess(binary, flags);
  await eventually(() => isAnswering(`${ingress.adminOrigin}/readyz`));
  return ingress;
}

test(
  "ingress serves a plain request beside 2,000 quiet event streams",
  async () => {
    await using stage = await startSampleStage();
    await using ingress = await startReadyIngress(stage.manifests);
    const request = `GET /events?interval=60000 HTTP/1.1\r\nHost: x\r\nOpenSandbox-Ingress-To: ${stage.route}\r\n\r\n`;
    const streams = await openMany(STREAMS, portOf(ingress), request);
    // Every one has its head and first frame: none waits in a queue for another to end.
    await Promise.all(streams.map((stream) => stream.until((text) => text.includes('"sequence":1'))));
    expect(streams.filter((stream) => stream.isClosed).map((stream) => stream.received)).toEqual([]);
    await expectServed(ingress, stage.route);
    const metrics = await (await fetch(`${ingress.adminOrigin}/metrics`)).text();
    expect(Number(/^opensandbox_ingress_http_request_active\S* (\d+)/m.exec(metrics)?.[1])).toBe(STREAMS);
    for (const stream of streams) stream.destroy();
    await eventually(async () => {
      const text = await (await fetch(`${ingress.adminOrigin}/metrics`)).text();
      return /^opensandbox_ingress_http_request_active\S* 0$/m.test(text);
    });
  },
  TEST_MAX_MS,
);

test(
  "ingress serves a plain request beside 500 requests to a sandbox that accepts and never answers",
  async () => {
    await using stage = await startSampleStage();
    using dir = tempDir();
    using silent = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
    await Bun.write(`${dir.path}/batch.json`, await Bun.file(`${stage.manifests}/batch.json`).text());
    await using ingress = await startReadyIngress(dir.path);
    const request = `GET / HTTP/1.1\r\nHost: x\r\nOpenSandbox-Ingress-To: sample-${silent.port}\r\n\r\n`;
    const hanging = await openMany(HANGING, portOf(ingress), request);
    await expectServed(ingress, stage.route);
    expect(hanging.filter((connection) => connection.isClosed).map((connection) => connection.received)).toEqual([]);
    for (const connection of hanging) connection.destroy();
  },
  TEST_MAX_MS,
);

test(
  "ingress serves a plain request beside 500 clients that send half a head, and drops those by itself",
  async () => {
    await using stage = await startSampleStage();
    await using ingress = await startReadyIngress(stage.manifests);
    const halves = await openMany(HALF_HEADS, portOf(ingress), "GET / HTTP/1.1\r\nHost: x\r\nX-Half:");
    await expectServed(ingress, stage.route);
    // Bun gives the first head of a connection about 12 s.
    await Promise.all(halves.map((connection) => connection.closed()));
    await expectServed(ingress, stage.route);
  },
  TEST_MAX_MS,
);

test(
  "ingress serves a plain request beside 1,000 clients that do not read what they asked for",
  async () => {
    await using stage = await startSampleStage();
    using endless = Bun.serve({
      hostname: "127.0.0.1",
      port: 0,
      idleTimeout: 120,
      fetch: () => {
        const block = new Uint8Array(65_536);
        return new Response(
          new ReadableStream<Uint8Array>({ pull: (controller) => controller.enqueue(block) }, { highWaterMark: 0 }),
        );
      },
    });
    await using ingress = await startReadyIngress(stage.manifests);
    const request = `GET / HTTP/1.1\r\nHost: x\r\nOpenSandbox-Ingress-To: sample-${endless.port}\r\n\r\n`;
    const readers: RawConnection[] = [];
    while (readers.length < SLOW_READERS) {
      const reader = await openRaw(portOf(ingress));
      reader.socket.pause();
      reader.write(request);
      readers.push(reader);
    }
    await eventually(async () => {
      const text = await (await fetch(`${ingress.adminOrigin}/metrics`)).text();
      return Number(/^opensandbox_ingress_http_request_active\S* (\d+)/m.exec(text)?.[1]) === SLOW_READERS;
    });
    await expectServed(ingress, stage.route);
    for (const reader of readers) reader.destroy();
  },
  TEST_MAX_MS,
);
