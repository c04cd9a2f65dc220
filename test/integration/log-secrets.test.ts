import { afterAll, beforeAll, describe, expect, test } from "bun:test";

import { systemClock } from "../../src/clock.ts";
import { createLoggerWithAccess } from "../support/logger-with-access.ts";
import { eventually } from "../../scripts/lib/eventually.ts";
import { startFaultUpstream, UPSTREAM_FAULTS } from "../support/fault-upstreams.ts";
import { type ProxyHarness, startProxy } from "../../scripts/lib/stage/proxy-harness.ts";
import { openRaw } from "../../scripts/lib/stage/raw-client.ts";

/** Stands in path, query, credentials, cookies, sub-protocol and body: a line of the log that has it is a leak. */
const SECRET = "s3cr3t";
const TOKEN = `${SECRET}-token`;

let proxy: ProxyHarness;
const lines: string[] = [];
const write = async (chunk: string) => void lines.push(...chunk.split("\n").slice(0, -1));
const logger = createLoggerWithAccess({ level: "debug", format: "text", accessLog: "all", clock: systemClock, write });

beforeAll(() => {
  proxy = startProxy({ responseTimeoutMs: 500, connectTimeoutMs: 300 }, { accessLog: logger.accessLog });
  proxy.provider.set({ name: "sb", accessToken: TOKEN });
  proxy.provider.set({ name: "unnamed", accessToken: TOKEN, endpoint: "nobody.default.svc.invalid" });
  proxy.provider.set({ name: "away", accessToken: TOKEN, ready: false });
});
afterAll(() => proxy[Symbol.asyncDispose]());

const HEADERS = [
  `OpenSandbox-Secure-Access: ${TOKEN}`,
  `Authorization: Bearer ${SECRET}`,
  `Cookie: session=${SECRET}`,
  `Referer: http://other/${SECRET}?token=${SECRET}`,
  `X-Api-Key: ${SECRET}`,
];
const UPGRADE = [
  "Connection: Upgrade",
  "Upgrade: websocket",
  "Sec-WebSocket-Version: 13",
  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
  `Sec-WebSocket-Protocol: ${SECRET}`,
];

/** Sends one request, waits until it has been logged, and gives the lines that it made. */
async function logOf(kind: "GET" | "POST" | "websocket", route: string): Promise<readonly string[]> {
  lines.length = 0;
  const client = await openRaw(proxy.port);
  const path = `/${SECRET}/%73?token=${SECRET}&q=%2F`;
  const method = kind === "websocket" ? "GET" : kind;
  const own = kind === "websocket" ? UPGRADE : kind === "POST" ? [`Content-Length: ${SECRET.length}`] : [];
  const head = [`${method} ${path} HTTP/1.1`, "Host: h", `OpenSandbox-Ingress-To: ${route}`, ...HEADERS, ...own];
  client.write(`${head.join("\r\n")}\r\n\r\n${kind === "POST" ? SECRET : ""}`);
  try {
    await client.until((received) => received.includes("\r\n\r\n"));
    // What is left of an answer or a tunnel would go on otherwise.
    client.destroy();
    await eventually(async () => {
      await logger.flush();
      return lines.length > 0;
    });
  } finally {
    client.destroy();
  }
  return [...lines];
}

function expectNoSecret(written: readonly string[]): void {
  expect(written.length).toBeGreaterThan(0);
  expect(written.join("\n").toLowerCase()).not.toContain(SECRET);
  expect(written.join("\n")).not.toContain("%73");
}

describe.each(UPSTREAM_FAULTS)("the log has nothing of a request whose sandbox $name", (fault) => {
  const kinds = fault.for === "http" ? (["GET", "POST"] as const) : (["websocket"] as const);
  test.each(kinds)("%s", async (kind) => {
    await using upstream = await startFaultUpstream(fault);
    expectNoSecret(await logOf(kind, `sb-${upstream.port}`));
    expect(upstream.connections).toBeGreaterThan(0);
  });
});

describe.each(["GET", "POST", "websocket"] as const)("the log has nothing of a %s", (kind) => {
  test.each([
    ["whose sandbox refuses the connection", "sb-1", "upstream_refused"],
    ["whose sandbox has a name that does not resolve", "unnamed-80", "code=upstream_un"],
    ["whose sandbox is not ready", "away-80", "sandbox_not_ready"],
    ["whose sandbox does not exist", "nobody-80", "sandbox_not_found"],
    ["whose route is invalid", `sb-80-${SECRET}`, "route_invalid"],
    ["whose signature is wrong", `away-80-zz-${SECRET}`, "route_invalid"],
  ])("%s", async (_what, route, code) => {
    const written = await logOf(kind, route);
    expectNoSecret(written);
    expect(written.join("\n")).toContain(code);
  });
});
