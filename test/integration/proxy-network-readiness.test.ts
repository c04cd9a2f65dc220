import { expect, test } from "bun:test";

import { eventually } from "../../scripts/lib/eventually.ts";
import { findFreePort } from "../../scripts/lib/free-port.ts";
import { startProxy } from "../../scripts/lib/stage/proxy-harness.ts";

const PAGE = "/status.ok/network-readiness";
const EAGER = {
  windowMs: 60_000,
  maxTargets: 10,
  minAttempts: 2,
  minTargets: 2,
  minSignalTargets: 2,
  failureRatio: 0.5,
};

test.each(["header", "uri"] as const)("GET /status.ok/network-readiness, mode %s, is always 200", async (mode) => {
  await using proxy = startProxy({ mode });
  for (const method of ["GET", "HEAD"]) {
    const answer = await fetch(`http://127.0.0.1:${proxy.port}${PAGE}`, { method });
    expect(answer.status).toBe(200);
    expect(answer.headers.get("content-type")).toBe("text/plain; charset=utf-8");
    expect(answer.headers.get("cache-control")).toBe("no-store");
    expect(await answer.text()).toBe(method === "GET" ? "OK" : "");
  }
  expect((await fetch(`http://127.0.0.1:${proxy.port}${PAGE}`, { method: "POST" })).status).not.toBe(200);
  expect((await fetch(`http://127.0.0.1:${proxy.port}${PAGE}/x`)).status).not.toBe(200);
});

test("GET /status.ok/network-readiness is missing where its settings are invalid", async () => {
  await using proxy = startProxy({ networkReadiness: undefined });
  expect((await fetch(`http://127.0.0.1:${proxy.port}${PAGE}`)).status).toBe(404);
  expect(await (await fetch(`http://127.0.0.1:${proxy.port}/status.ok`)).text()).toBe("OK");
});

test("GET /status.ok/network-readiness says DEGRADED when sandboxes cannot be reached, and the status does not", async () => {
  // A kernel that tells of no connection: what is quiet for the connect timeout is unreachable.
  await using proxy = startProxy(
    { networkReadiness: EAGER, connectTimeoutMs: 1 },
    { connectionState: () => Promise.resolve("none") },
  );
  using silent = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
  const ask = (name: string, port: number) =>
    fetch(`http://127.0.0.1:${proxy.port}/`, { headers: { "OpenSandbox-Ingress-To": `${name}-${port}` } });
  const read = async (path: string) => (await fetch(`http://127.0.0.1:${proxy.port}${path}`)).text();
  for (const name of ["a", "b"]) proxy.provider.set({ name });
  const closed = findFreePort();
  for (const name of ["a", "b"]) expect((await ask(name, closed)).status).toBe(503);
  expect(await read(PAGE)).toBe("OK");
  for (const name of ["a", "b"]) expect((await ask(name, silent.port)).status).toBe(502);
  await eventually(async () => (await read(PAGE)) === "DEGRADED");
  expect(await read("/status.ok")).toBe("OK");
});
