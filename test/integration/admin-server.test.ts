import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { connect } from "node:net";
import {
  ADMIN_BODY_MAX_BYTES,
  ADMIN_RESTART_INTERVAL_MS,
  type AdminServer,
  createAdminServer,
} from "../../src/admin/admin-server.ts";
import type { HealthCheck } from "../../src/admin/health.ts";
import { createAdminToken } from "../../src/access/admin-token.ts";
import { createAdminGate } from "../../src/admin/gate.ts";
import { systemClock } from "../../src/clock.ts";
import { silentLogger } from "../../src/log/logger.ts";
import { eventually } from "../../scripts/lib/eventually.ts";

const READY: readonly HealthCheck[] = [{ name: "sandboxes", ok: true, detail: "" }];
const NOT_READY: readonly HealthCheck[] = [
  { name: "lifecycle", ok: true, detail: "" },
  { name: "sandboxes", ok: false, detail: "not yet synced" },
];

const token = createAdminToken({ file: undefined, logger: silentLogger, clock: systemClock });
const OPERATORS = {
  gate: createAdminGate({ token, clock: systemClock, logger: silentLogger }),
  debugPages: [],
};

let checks = READY;
let scrape: () => Promise<string>;
let errors: string[] = [];
let admin: AdminServer;
let port: number;

beforeAll(async () => {
  admin = createAdminServer({
    host: "::",
    port: 0,
    ...OPERATORS,
    metrics: { scrape: () => scrape() },
    checks: () => checks,
    logger: { ...silentLogger, error: (_message, fields) => errors.push(String(fields?.["cause"])) },
  });
  ({ port } = await admin.start());
});
afterAll(() => admin.stop());
beforeEach(() => {
  checks = READY;
  errors = [];
  scrape = () => Promise.resolve("x 1\n");
});

async function get(path: string, init: RequestInit = {}) {
  const response = await fetch(`http://127.0.0.1:${port}${path}`, init);
  return { status: response.status, headers: response.headers, text: await response.text() };
}

/** Sends bytes as they are and gives all that comes back. */
function exchange(bytes: string): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  let received = "";
  const socket = connect(port, "127.0.0.1", () => socket.write(bytes));
  socket.on("data", (data) => (received += data.toString("latin1")));
  socket.on("close", () => resolve(received));
  socket.on("error", reject);
  return promise;
}

describe("AdminServer", () => {
  test("answers /livez for any result of the checks", async () => {
    checks = NOT_READY;
    expect(await get("/livez")).toMatchObject({ status: 200, text: "ok" });
    expect(await get("/livez?verbose")).toMatchObject({ status: 200, text: "[+]ping ok\nlivez check passed\n" });
  });

  test("answers /readyz with 200 when all checks pass", async () => {
    expect(await get("/readyz")).toMatchObject({ status: 200, text: "ok" });
    expect(await get("/readyz?verbose")).toMatchObject({ text: "[+]sandboxes ok\nreadyz check passed\n" });
  });

  test("answers /readyz with 503 and the reason when one fails", async () => {
    checks = NOT_READY;
    const text = "[+]lifecycle ok\n[-]sandboxes failed: not yet synced\nreadyz check failed\n";
    expect(await get("/readyz")).toMatchObject({ status: 503, text });
    expect(await get("/readyz?verbose=1")).toMatchObject({ status: 503, text });
  });

  test("answers /metrics in Prometheus' content type", async () => {
    const { status, headers, text } = await get("/metrics");
    expect([status, text]).toEqual([200, "x 1\n"]);
    expect(headers.get("content-type")).toBe("text/plain; version=0.0.4; charset=utf-8");
  });

  test("answers 500 without the cause, and logs it, when a scrape fails", async () => {
    scrape = () => Promise.reject(new Error("secret cause"));
    const { status, text } = await get("/metrics");
    expect([status, text]).toEqual([500, "internal error\n"]);
    expect(errors).toEqual(["secret cause"]);
  });

  test("lists its pages at /", async () => {
    const { status, text } = await get("/");
    expect(status).toBe(200);
    for (const path of ["/livez", "/readyz", "/metrics"]) expect(text).toContain(path);
  });

  test("answers HEAD as GET, without the body", async () => {
    const answer = await exchange("HEAD /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    expect(answer).toStartWith("HTTP/1.1 200 OK\r\n");
    expect(answer.toLowerCase()).toContain("content-length: 4\r\n");
    expect(answer).toEndWith("\r\n\r\n");
  });

  test("answers HTTP/1.0 without Host, and any odd Host", async () => {
    expect(await exchange("GET /livez HTTP/1.0\r\n\r\n")).toContain(" 200 OK\r\n");
    for (const host of ["", "a b", "u@evil", "a/b?c", "[", "%"]) {
      const request = `GET /livez HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`;
      expect(await exchange(request)).toMatch(/^HTTP\/1\.1 (200|400|404) /);
    }
  });

  test.each(["/livez/", "/nothing", "/metrics.txt", "/%6civez"])("answers 404 to %s", async (path) => {
    expect((await get(path)).status).toBe(404);
  });

  test.each(["POST", "PUT", "DELETE", "OPTIONS"])("answers 405 to %s", async (method) => {
    const { status, headers } = await get("/metrics", { method });
    expect([status, headers.get("allow")]).toEqual([405, "GET, HEAD"]);
  });

  test("refuses a body", async () => {
    expect((await get("/metrics", { method: "POST", body: "x".repeat(ADMIN_BODY_MAX_BYTES + 1) })).status).toBeOneOf([
      405, 413,
    ]);
  });

  test("listens on both families", async () => {
    const response = await fetch(`http://[::1]:${port}/livez`);
    expect(await response.text()).toBe("ok");
  });

  test("rejects to start if the port is taken", async () => {
    const options = { host: "::", port, ...OPERATORS, metrics: { scrape }, checks: () => READY, logger: silentLogger };
    const thrown: unknown = await createAdminServer(options)
      .start()
      .catch((error: unknown) => error);
    expect(thrown).toHaveProperty("code", "EADDRINUSE");
  });
});

describe("AdminServer.relieve", () => {
  const HEAD = "GET /livez HTTP/1.1\r\nHost: x\r\n";
  const ASKS = `POST /debug/explain HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{`;

  /** Connects and sends bytes. `received` is all that came back; `closed` resolves when the connection is closed. */
  function open(bytes: string) {
    const { promise: closed, resolve } = Promise.withResolvers<void>();
    const connected = Promise.withResolvers<void>();
    const state = { received: "", closed, connected: connected.promise };
    const socket = connect(port, "127.0.0.1", () => {
      connected.resolve();
      socket.write(bytes);
    });
    socket.on("data", (data) => (state.received += data.toString("latin1")));
    socket.on("close", () => resolve());
    socket.on("error", () => {});
    return state;
  }

  let nowMs = 0;
  beforeEach(() => (nowMs += ADMIN_RESTART_INTERVAL_MS));

  test("AdminServer.relieve closes idle connections while descriptors are short, and no other", async () => {
    const { promise: going, resolve: go } = Promise.withResolvers<string>();
    scrape = () => going;
    const idle = Array.from({ length: 8 }, () => open(`${HEAD}\r\n`));
    await eventually(() => idle.every(({ received }) => received.endsWith("ok")));
    const busy = exchange("GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    await exchange(`${HEAD}Connection: close\r\n\r\n`);
    admin.relieve("short", nowMs);
    await Promise.all(idle.map(({ closed }) => closed));
    go("x 2\n");
    expect(await busy).toEndWith("x 2\n");
  });

  // Bun itself closes those that sent nothing, after 12 s.
  test.each([
    ["that sent a part of a head", HEAD],
    ["that sent a part of a body", ASKS],
    ["that are idle", `${HEAD}\r\n`],
  ])("AdminServer.relieve closes connections %s when descriptors are exhausted, and listens on", async (_, bytes) => {
    const many = Array.from({ length: 32 }, () => open(bytes));
    await Promise.all(many.map(({ connected }) => connected));
    // Answered after the others were accepted.
    await get("/livez", { headers: { Connection: "close" } });
    admin.relieve("exhausted", nowMs);
    await Promise.all(many.map(({ closed }) => closed));
    expect((await get("/livez")).text).toBe("ok");
  });

  test("AdminServer.relieve leaves time for probes and scrapes between two restarts", async () => {
    admin.relieve("exhausted", nowMs);
    const { promise: going, resolve: go } = Promise.withResolvers<string>();
    let asked = false;
    scrape = () => ((asked = true), going);
    const busy = exchange("GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    await eventually(() => asked);
    admin.relieve("exhausted", nowMs + ADMIN_RESTART_INTERVAL_MS - 1);
    go("x 3\n");
    expect(await busy).toEndWith("x 3\n");
  });

  test("AdminServer.relieve opens nothing before the start and after the end", async () => {
    const options = {
      host: "::",
      port: 0,
      ...OPERATORS,
      metrics: { scrape },
      checks: () => READY,
      logger: silentLogger,
    };
    const other = createAdminServer(options);
    other.relieve("exhausted", 0);
    const { port: otherPort } = await other.start();
    await other.stop();
    other.relieve("exhausted", 2 * ADMIN_RESTART_INTERVAL_MS);
    const answer = await fetch(`http://127.0.0.1:${otherPort}/livez`).catch(() => undefined);
    expect(answer).toBeUndefined();
  });
});
