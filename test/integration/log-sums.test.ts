import { expect, test } from "bun:test";
import { systemClock } from "../../src/clock.ts";
import { createLoggerWithAccess } from "../support/logger-with-access.ts";
import { startProxy } from "../../scripts/lib/stage/proxy-harness.ts";
import { openRaw } from "../../scripts/lib/stage/raw-client.ts";
import { sandboxRecord } from "../../scripts/lib/stage/sandbox-objects.ts";

test("a connection that polls a sandbox which is not ready writes about a line a second", async () => {
  const lines: string[] = [];
  const write = async (chunk: string) => void lines.push(...chunk.split("\n").slice(0, -1));
  const logger = createLoggerWithAccess({
    level: "info",
    format: "text",
    accessLog: "errors",
    clock: systemClock,
    write,
  });
  await using proxy = startProxy({}, { accessLog: logger.accessLog });
  proxy.provider.set(sandboxRecord({ name: "poll", ready: false }));
  const startedMs = performance.now();
  const connection = await openRaw(proxy.port);
  const POLLS = 2_000;
  for (let poll = 0; poll < POLLS; poll += 1) {
    connection.write("GET /ping HTTP/1.1\r\nHost: h\r\nOpenSandbox-Ingress-To: poll-80\r\n\r\n");
    expect((await connection.readAnswer()).status).toBe(503);
  }
  connection.destroy();
  const seconds = (performance.now() - startedMs) / 1_000;
  await logger.flush();
  expect(lines.length).toBeLessThanOrEqual(2 * seconds + 2);
  const counted = lines.map((line) => Number(/ repeated=(\d+)/.exec(line)?.[1] ?? 1));
  expect(counted.reduce((total, each) => total + each, 0)).toBe(POLLS);
});
