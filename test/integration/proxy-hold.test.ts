import { describe, expect, test } from "bun:test";

import { parseAddressSet } from "../../src/address.ts";
import { eventually } from "../../scripts/lib/eventually.ts";
import { headerValues, openRaw } from "../../scripts/lib/stage/raw-client.ts";
import { NOT_READY, startHoldStage } from "../support/hold-stage.ts";

const NOTHING_OPEN = { exchanges: 0, clients: 0, heldBytes: 0, tunnels: 0 };
const NAVIGATION = ["Sec-Fetch-Mode: navigate", "Accept: text/html"];

describe("requests that wait", () => {
  test("Holds forwards a request when its sandbox becomes ready, with its body and once", async () => {
    await using stage = startHoldStage();
    stage.listen();
    stage.setUnready("sb");
    const client = await stage.ask("sb", { method: "POST", path: "/x", body: "hello" });
    await eventually(() => stage.held() === 1);
    expect([...stage.proxy.server.inspection.exchanges()].map(({ state }) => state)).toEqual(["held"]);
    expect(stage.proxy.server.counters()).toMatchObject({ exchanges: 1, heldBytes: 5 });
    stage.setReady("sb");
    const answer = await client.readAnswer();
    expect(answer).toMatchObject({ status: 200, body: "ok" });
    expect(stage.got).toEqual(["POST /x hello"]);
    expect(stage.held()).toBe(0);
    await eventually(() => expect(stage.proxy.server.counters()).toEqual(NOTHING_OPEN));
    expect(stage.proxy.accessLog.map(({ status }) => status)).toEqual([200]);
  });

  test.each([
    ["off", 0, undefined, 503],
    ["off, but on by annotation", 0, 60_000, undefined],
    ["on, but off by annotation", 60_000, 0, 503],
  ] as const)("Holds, %s", async (_, holdMs, ofSandbox, status) => {
    await using stage = startHoldStage({ holdMs });
    stage.setUnready("sb", ofSandbox === undefined ? {} : { policy: { holdMs: ofSandbox } });
    const client = await stage.ask("sb");
    if (status === undefined) return void (await eventually(() => stage.held() === 1));
    expect(await client.readAnswer()).toMatchObject({ status, body: `OpenSandbox Ingress: ${NOT_READY}\n` });
  });

  test("Holds answers 503 with Retry-After and the latest reason when the time is over", async () => {
    await using stage = startHoldStage({ holdMs: 300 });
    stage.setUnready("sb");
    const client = await stage.ask("sb");
    await eventually(() => stage.held() === 1);
    stage.setUnready("sb", { notReady: "sandbox not ready: later" });
    const answer = await client.readAnswer();
    expect(answer).toMatchObject({ status: 503, body: "OpenSandbox Ingress: sandbox not ready: later\n" });
    expect(headerValues(answer, "retry-after")).toEqual(["1"]);
    await eventually(() => expect(stage.proxy.server.counters()).toEqual(NOTHING_OPEN));
  });

  test.each(["GET", "POST"])("Holds frees the place of a %s client that leaves", async (method) => {
    await using stage = startHoldStage();
    stage.setUnready("sb");
    const client = await stage.ask("sb", { method, ...(method === "POST" ? { body: "hello" } : {}) });
    await eventually(() => stage.held() === 1);
    client.destroy();
    await eventually(() => stage.held() === 0);
    await eventually(() => expect(stage.proxy.server.counters()).toEqual(NOTHING_OPEN));
    expect(stage.proxy.accessLog.map(({ code }) => code)).toEqual(["client_closed"]);
  });

  test("Holds answers 404 to all waiting requests when the sandbox is deleted", async () => {
    await using stage = startHoldStage({ holdReleaseRate: 1 });
    stage.setUnready("sb");
    const clients = await Promise.all(Array.from({ length: 100 }, () => stage.ask("sb")));
    await eventually(() => stage.held() === 100);
    stage.proxy.provider.table.remove("default", "sb");
    const answers = await Promise.all(clients.map((client) => client.readAnswer()));
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([404]));
  });

  test("Holds sends the request to the sandbox that replaced the one it waited for", async () => {
    await using stage = startHoldStage();
    stage.listen();
    stage.setUnready("sb", { uid: "old" });
    const client = await stage.ask("sb");
    await eventually(() => stage.held() === 1);
    stage.setUnready("sb", { uid: "new" });
    await eventually(() =>
      [...stage.proxy.server.inspection.exchanges()].every(({ upstream }) => upstream.uid === "new"),
    );
    stage.setReady("sb", { uid: "new" });
    expect(await client.readAnswer()).toMatchObject({ status: 200 });
  });

  test("Holds checks the credential again only if another sandbox has the name", async () => {
    await using stage = startHoldStage();
    stage.listen();
    stage.setUnready("sb", { uid: "old", accessToken: "one" });
    const ask = () => stage.ask("sb", { headers: ["OpenSandbox-Secure-Access: one"] });
    const [first, second] = [await ask(), await ask()];
    await eventually(() => stage.held() === 2);
    stage.setUnready("sb", { uid: "new", accessToken: "two" });
    expect(await first.readAnswer()).toMatchObject({ status: 401 });
    expect(await second.readAnswer()).toMatchObject({ status: 401 });
    expect(stage.got).toEqual([]);
  });

  test("Holds refuses a request whose credential was withdrawn while it waited", async () => {
    await using stage = startHoldStage();
    stage.listen();
    stage.setUnready("sb", { accessToken: "one" });
    const client = await stage.ask("sb", { headers: ["OpenSandbox-Secure-Access: one"] });
    await eventually(() => stage.held() === 1);
    stage.setReady("sb", { accessToken: "two" });
    expect(await client.readAnswer()).toMatchObject({ status: 401 });
    expect(stage.proxy.accessLog.map(({ code }) => code)).toEqual(["access_revoked"]);
    expect(stage.got).toEqual([]);
  });

  test("Holds lets no request without the credential of a secured sandbox wait", async () => {
    await using stage = startHoldStage();
    stage.setUnready("sb", { accessToken: "one" });
    const client = await stage.ask("sb");
    expect(await client.readAnswer()).toMatchObject({ status: 401 });
  });

  test("Holds ends all waits with 503 when a drain begins, and starts none after that", async () => {
    await using stage = startHoldStage();
    stage.setUnready("sb");
    const client = await stage.ask("sb");
    await eventually(() => stage.held() === 1);
    stage.proxy.server.announceDrain();
    const answer = await client.readAnswer();
    expect(answer).toMatchObject({ status: 503, body: "OpenSandbox Ingress: ingress is shutting down\n" });
    const late = await stage.ask("sb");
    expect(await late.readAnswer()).toMatchObject({ status: 503, body: `OpenSandbox Ingress: ${NOT_READY}\n` });
  });

  test("HoldRoom lets one sandbox use a quarter of its places", async () => {
    await using stage = startHoldStage({ holdMax: 8 });
    for (const name of ["a", "b", "c", "d"]) stage.setUnready(name);
    for (const name of ["a", "a", "b", "b"]) await stage.ask(name);
    await eventually(() => stage.held() === 4);
    const third = await (await stage.ask("a")).readAnswer();
    expect(third).toMatchObject({ status: 503, body: "OpenSandbox Ingress: too many requests wait for sandboxes\n" });
    for (const name of ["c", "c", "d", "d"]) await stage.ask(name);
    await eventually(() => stage.held() === 8);
  });

  test("HoldRoom gives a client as many places as are free, and gives them back", async () => {
    const trusted = { config: { trustedProxies: parseAddressSet("127.0.0.1") } };
    await using stage = startHoldStage({ holdMax: 8 }, trusted);
    for (const name of ["a", "b", "c"]) stage.setUnready(name);
    const greedy = { headers: ["X-Forwarded-For: 198.51.100.1"] };
    const held = [];
    for (const name of ["a", "a", "b", "b"]) {
      held.push(await stage.ask(name, greedy));
      await eventually(() => stage.held() === held.length);
    }
    held.push(await stage.ask("c", greedy));
    await eventually(() => stage.held() === 5);
    expect((await (await stage.ask("c", greedy)).readAnswer()).status).toBe(503);
    await stage.ask("c", { headers: ["X-Forwarded-For: 198.51.100.2"] });
    await eventually(() => stage.held() === 6);
    for (const client of held) client.destroy();
    await eventually(() => stage.held() === 1);
    await stage.ask("a", greedy);
    await eventually(() => stage.held() === 2);
  });

  test("HoldRoom lets requests go on in the order of arrival", async () => {
    await using stage = startHoldStage({ holdReleaseRate: 1_000 });
    stage.listen();
    stage.setUnready("sb");
    const clients = [];
    for (let i = 0; i < 20; i++) {
      clients.push(await stage.ask("sb", { path: `/${i}` }));
      await eventually(() => stage.held() === i + 1);
    }
    stage.setReady("sb");
    for (const client of clients) expect((await client.readAnswer()).status).toBe(200);
    expect(stage.got).toEqual(clients.map((_, i) => `GET /${i}`));
  });

  test("Holds counts waiting requests in --max-requests", async () => {
    await using stage = startHoldStage({}, { config: { maxRequests: 1 } });
    stage.setUnready("sb");
    await stage.ask("sb");
    await eventually(() => stage.held() === 1);
    expect(await (await stage.ask("sb")).readAnswer()).toMatchObject({ status: 503 });
    expect(stage.proxy.accessLog.map(({ code }) => code)).toEqual(["too_many_requests"]);
  });

  test("Holds shows a browser the page that reloads itself after two seconds, and does not renew", async () => {
    await using stage = startHoldStage();
    stage.setUnready("sb");
    const page = await stage.ask("sb", { headers: NAVIGATION });
    const plain = await stage.ask("sb");
    await eventually(() => stage.held() === 2);
    const answer = await page.readAnswer();
    expect(answer.status).toBe(503);
    expect(headerValues(answer, "content-type")).toEqual(["text/html; charset=utf-8"]);
    expect(headerValues(answer, "retry-after")).toEqual(["1"]);
    expect(answer.body).toContain('http-equiv="refresh"');
    expect(plain.received).toBe("");
    expect(stage.held()).toBe(1);
  });

  test("Holds opens a WebSocket when its sandbox becomes ready", async () => {
    await using stage = startHoldStage();
    stage.listen();
    stage.setUnready("sb");
    const socket = new WebSocket(`ws://127.0.0.1:${stage.proxy.port}/`, {
      headers: { "OpenSandbox-Ingress-To": `sb-${stage.port}` },
    });
    const said = new Promise<string>((resolve, reject) => {
      socket.addEventListener("open", () => socket.send("hello"));
      socket.addEventListener("message", ({ data }) => resolve(String(data)));
      socket.addEventListener("error", () => reject(new Error("the WebSocket failed")));
    });
    await eventually(() => stage.held() === 1);
    stage.setReady("sb");
    expect(await said).toBe("hello");
    socket.close();
  });

  test("Holds counts unread bodies in the memory account", async () => {
    await using stage = startHoldStage({}, { config: { budgetBytes: 16 * 1024 * 1024 } });
    stage.setUnready("sb");
    const chunked = ["Transfer-Encoding: chunked"];
    await stage.ask("sb", { method: "POST", headers: chunked });
    await eventually(() => stage.held() === 1);
    expect(stage.proxy.server.counters().heldBytes).toBe(5 * 1024 * 1024);
    const second = await stage.ask("sb", { method: "POST", headers: chunked });
    expect(await second.readAnswer()).toMatchObject({ status: 503, body: "OpenSandbox Ingress: memory is low\n" });
  });

  test.each([5, 40_000])("Holds counts a body of %d bytes once that was read for a refused attempt", async (bytes) => {
    await using stage = startHoldStage();
    stage.setReady("sb");
    const client = await stage.ask("sb", { method: "POST", body: "x".repeat(bytes) });
    await eventually(() => stage.held() === 1);
    expect(stage.proxy.server.counters().heldBytes).toBe(bytes);
    stage.listen();
    expect(await client.readAnswer()).toMatchObject({ status: 200 });
    expect(stage.got).toEqual([`POST / ${"x".repeat(bytes)}`]);
    await eventually(() => stage.proxy.server.counters().heldBytes === 0);
  });

  test("Holds gives a request all of its time limits once more when its wait is over", async () => {
    await using stage = startHoldStage({}, { config: { clientIdleTimeoutMs: 2_000 } });
    stage.listen();
    stage.setUnready("sb");
    const client = await stage.ask("sb", { method: "POST", headers: ["Content-Length: 5"] });
    await eventually(() => stage.held() === 1);
    const [exchange] = stage.proxy.server.inspection.exchanges();
    const waited = (exchange?.subject.startedAt ?? 0) + 2_500;
    await eventually(() => performance.now() > waited);
    stage.setReady("sb");
    await eventually(() => exchange?.state === "receiving");
    // The watchdog looks four times a second.
    const looked = performance.now() + 400;
    await eventually(() => performance.now() > looked);
    client.write("hello");
    expect(await client.readAnswer()).toMatchObject({ status: 200 });
    expect(stage.got).toEqual(["POST / hello"]);
  }, 30_000);

  test("Holds delays nobody else while a thousand wait", async () => {
    await using stage = startHoldStage({}, { config: { maxRequests: 10_000 } });
    stage.listen();
    const names = ["a", "b", "c", "d"];
    for (const name of names) stage.setUnready(name);
    stage.setReady("other");
    const waiting = await Promise.all(Array.from({ length: 1_000 }, (_, i) => stage.ask(names[i % 4] ?? "")));
    await eventually(() => stage.held() === 1_000);
    for (let i = 0; i < 100; i++) {
      expect((await (await stage.ask("other")).readAnswer()).status).toBe(200);
      stage.setUnready("a", { notReady: `sandbox not ready: look ${i}` });
    }
    expect(stage.held()).toBe(1_000);
    for (const name of names) stage.proxy.provider.table.remove("default", name);
    for (const client of waiting) expect((await client.readAnswer()).status).toBe(404);
    await eventually(() => expect(stage.proxy.server.counters()).toEqual(NOTHING_OPEN));
  }, 30_000);

  test("HoldRoom follows a sandbox through generations that are not ready", async () => {
    await using stage = startHoldStage();
    stage.listen();
    stage.setUnready("sb");
    const client = await stage.ask("sb");
    await eventually(() => stage.held() === 1);
    for (const endpoint of ["10.0.0.1", "", "127.0.0.1"]) stage.setUnready("sb", { endpoint });
    expect(stage.held()).toBe(1);
    const endpoints = () => [...stage.proxy.server.inspection.exchanges()].map(({ upstream }) => upstream.endpoint);
    await eventually(() => expect(endpoints()).toEqual(["127.0.0.1"]));
    stage.setReady("sb");
    expect(await client.readAnswer()).toMatchObject({ status: 200 });
  });
});

describe("requests whose port refuses the connection", () => {
  test.each([
    ["without a body", { method: "GET" }, "GET /"],
    ["with a small body", { method: "POST", body: "hello" }, "POST / hello"],
    ["with a large body", { method: "POST", body: "x".repeat(100_000) }, `POST / ${"x".repeat(100_000)}`],
  ] as const)("Holds retries %s until the port listens", async (_, options, expected) => {
    await using stage = startHoldStage();
    stage.setReady("sb");
    const client = await stage.ask("sb", {
      ...options,
      headers: ["X-Kept: 1", "Connection: x-dropped", "X-Dropped: 1"],
    });
    await eventually(() => stage.held() === 1);
    stage.listen();
    expect(await client.readAnswer()).toMatchObject({ status: 200, body: "ok" });
    expect(stage.got).toEqual([expected]);
    await eventually(() => expect(stage.proxy.server.counters()).toEqual(NOTHING_OPEN));
  });

  test("Holds says that the port refused when the time is over", async () => {
    await using stage = startHoldStage({ holdMs: 300 });
    stage.setReady("sb");
    const client = await stage.ask("sb", { method: "POST", body: "hello" });
    expect(await client.readAnswer()).toMatchObject({
      status: 503,
      body: "OpenSandbox Ingress: sandbox refused the connection\n",
    });
    await eventually(() => expect(stage.proxy.server.counters()).toEqual(NOTHING_OPEN));
  });

  test("Holds does not retry if holding is off", async () => {
    await using stage = startHoldStage({ holdMs: 0 });
    stage.setReady("sb");
    const client = await stage.ask("sb");
    expect(await client.readAnswer()).toMatchObject({
      status: 503,
      body: "OpenSandbox Ingress: sandbox refused the connection\n",
    });
  });

  test("Holds retries a WebSocket until the port listens", async () => {
    await using stage = startHoldStage();
    stage.setReady("sb");
    const connection = await openRaw(stage.proxy.port);
    connection.write(
      `GET / HTTP/1.1\r\nHost: h.test\r\nOpenSandbox-Ingress-To: sb-${stage.port}\r\nConnection: Upgrade\r\n` +
        "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    await eventually(() => stage.held() === 1);
    stage.listen();
    expect(await connection.readAnswer()).toMatchObject({ status: 101 });
    connection.destroy();
  });

  test("Holds uses the sandbox's new address when it retries", async () => {
    await using stage = startHoldStage();
    stage.setReady("sb", { ports: new Map([[stage.port, "127.0.0.1:1"]]), endpoint: "one" });
    const client = await stage.ask("sb");
    await eventually(() => stage.held() === 1);
    stage.listen();
    stage.setReady("sb");
    expect(await client.readAnswer()).toMatchObject({ status: 200 });
  });
});
