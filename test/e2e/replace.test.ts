import { beforeAll, expect, test } from "bun:test";

import { buildBinary } from "../support/binary.ts";
import { eventually } from "../../scripts/lib/eventually.ts";
import { type IngressProcess, isAnswering, startIngressProcess } from "../../scripts/lib/ingress-process.ts";
import { headerValues, openRaw } from "../../scripts/lib/stage/raw-client.ts";
import { openRawWebSocket, parseClose } from "../../scripts/lib/stage/raw-websocket.ts";
import { startSampleStage } from "../support/sample-manifests.ts";

const REPLACEMENTS = 20;
const CLIENTS = 8;

let binary: string;
beforeAll(async () => {
  binary = await buildBinary();
});

const portOf = (ingress: IngressProcess): number => Number(new URL(ingress.origin).port);

test("ingress is replaced twenty times under load of keep-alive clients, and not one request fails", async () => {
  await using stage = await startSampleStage();
  const start = async (): Promise<IngressProcess> => {
    const ingress = await startIngressProcess(binary, [
      `--manifests=${stage.manifests}`,
      "--shutdown-delay=300ms",
      "--drain-timeout=5s",
      "--log-level=error",
    ]);
    await eventually(() => isAnswering(`${ingress.adminOrigin}/readyz`));
    return ingress;
  };
  let current = await start();
  let isOver = false;
  let answered = 0;
  const failures: string[] = [];

  /** As a client behind a Service: new connections go to who is ready, old ones stay until they are closed in order. */
  const client = async (): Promise<void> => {
    const request = `GET /echo HTTP/1.1\r\nHost: x\r\nOpenSandbox-Ingress-To: ${stage.route}\r\n\r\n`;
    let connection = await openRaw(portOf(current));
    const goesOn = (): boolean => !isOver;
    while (goesOn()) {
      connection.write(request);
      const answer = await connection.readAnswer().catch((error: unknown) => String(error));
      if (typeof answer === "string" || answer.status !== 200) {
        failures.push(typeof answer === "string" ? answer : `status ${answer.status}`);
      } else {
        answered++;
        if (!headerValues(answer, "connection").includes("close")) continue;
      }
      connection.destroy();
      connection = await openRaw(portOf(current));
    }
    connection.destroy();
  };
  const clients = Array.from({ length: CLIENTS }, client);

  for (let round = 0; round < REPLACEMENTS; round++) {
    const old = current;
    const tunnel = await openRawWebSocket(portOf(old), "/ws", {
      extra: `OpenSandbox-Ingress-To: ${stage.route}\r\n`,
    });
    const seen = answered;
    await eventually(() => answered > seen + CLIENTS);
    current = await start();
    old.kill("SIGTERM");
    await eventually(async () => !(await isAnswering(`${old.adminOrigin}/readyz`)));
    const close = await tunnel.frames.next();
    expect(parseClose(close?.payload ?? Buffer.alloc(0))?.code).toBe(1001);
    tunnel.socket.destroy();
    expect(await old.exited).toBe(0);
  }
  isOver = true;
  await Promise.all(clients);
  await current[Symbol.asyncDispose]();
  expect(failures).toEqual([]);
  expect(answered).toBeGreaterThan(REPLACEMENTS * CLIENTS);
}, 180_000);
