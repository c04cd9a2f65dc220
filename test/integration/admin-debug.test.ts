import { afterAll, beforeAll, describe, expect, test } from "bun:test";

import { FAILURES_MAX } from "../../src/proxy/report/failure-list.ts";
import type { FailurePage, RequestPage } from "../../src/admin/request-list.ts";
import type { SandboxPage, SandboxRow } from "../../src/admin/sandbox-list.ts";
import type { Status } from "../../src/admin/status.ts";
import { eventually } from "../../scripts/lib/eventually.ts";
import { openRaw, rawRequest } from "../../scripts/lib/stage/raw-client.ts";
import { createTableProvider } from "../../scripts/lib/stage/table-provider.ts";
import { askRaw } from "../support/ask-raw.ts";
import { type DebugStage, startDebugStage } from "../support/debug-stage.ts";

const SECRET = "do-not-tell";
const HOUR_MS = 3_600_000;

/** What `read` gives once it satisfies. */
function once<T>(read: () => Promise<T>, isIt: (value: T) => boolean): Promise<T> {
  return eventually(async () => {
    const value = await read();
    if (!isIt(value)) throw new Error(`not yet: ${JSON.stringify(value)}`);
    return value;
  });
}

/** A sandbox whose paths say what it does. */
const upstream = Bun.serve({
  hostname: "127.0.0.1",
  port: 0,
  async fetch(request) {
    const { pathname } = new URL(request.url);
    if (pathname === "/fail") return new Response("no", { status: 500 });
    if (pathname === "/hang") await Bun.sleep(HOUR_MS);
    return new Response("hello");
  },
});

let stage: DebugStage;
beforeAll(async () => {
  stage = await startDebugStage();
  stage.provider.set({ name: "sb", accessToken: "" });
});
afterAll(async () => {
  await stage[Symbol.asyncDispose]();
  await upstream.stop(true);
});

const send = (path: string, sandbox = "sb", extra = "") =>
  rawRequest(
    stage.port,
    `GET ${path} HTTP/1.1\r\nHost: h.test\r\nOpenSandbox-Ingress-To: ${sandbox}-${upstream.port}\r\n${extra}\r\n`,
  );

const sandboxes = (query = "", of = stage) => of.read<SandboxPage>(`/debug/sandboxes${query}`);
const requests = (query = "") => stage.read<RequestPage>(`/debug/requests${query}`);
const failures = async () => (await stage.read<FailurePage>("/debug/failures")).failures;
const status = () => stage.read<Status>("/debug/status");
const row = async (name: string): Promise<SandboxRow | undefined> =>
  (await sandboxes(`?q=${name}`)).sandboxes.find(({ id }) => id === name);

describe("/debug/sandboxes", () => {
  test("/debug/sandboxes tells use, open connections and errors of a sandbox", async () => {
    stage.provider.set({ name: "used" });
    expect(await row("used")).toMatchObject({ open: 0, requests: 0, errors: 0 });
    expect((await row("used"))?.lastUse).toBeUndefined();
    const before = Date.now();
    await send("/fail", "used");
    await send("/", "used");
    const used = await once(
      () => row("used"),
      (seen) => seen?.requests === 2,
    );
    expect(used).toMatchObject({ open: 0, requests: 2, errors: 1, secured: false, address: "127.0.0.1" });
    expect(Date.parse(used?.lastUse ?? "")).toBeWithin(before - 1, Date.now() + 1);
    const hanging = await openRaw(stage.port);
    hanging.write(`GET /hang HTTP/1.1\r\nHost: h\r\nOpenSandbox-Ingress-To: used-${upstream.port}\r\n\r\n`);
    await eventually(async () => (await row("used"))?.open === 1);
    hanging.destroy();
    await eventually(async () => (await row("used"))?.open === 0);
    // Leaving early is daily business.
    expect(await row("used")).toMatchObject({ requests: 3, errors: 1 });
  });

  test("/debug/sandboxes tells state, reason and since when, and never the token", async () => {
    const before = Date.now();
    stage.provider.set({ name: "waits", ready: false, notReady: "sandbox not ready: waits", accessToken: SECRET });
    const first = await row("waits");
    expect(first).toMatchObject({ state: "not-ready", reason: "sandbox not ready: waits", secured: true });
    expect(Date.parse(first?.since ?? "")).toBeWithin(before - 1, Date.now() + 1);
    // A change of anything but the state leaves the time as it is.
    stage.provider.set({ name: "waits", ready: false, notReady: "sandbox not ready: waits", accessToken: "other" });
    expect((await row("waits"))?.since).toBe(first?.since ?? "");
    await eventually(() => Date.now() > Date.parse(first?.since ?? ""));
    stage.provider.set({ name: "waits", ready: true, notReady: "" });
    const ready = await row("waits");
    expect(ready).toMatchObject({ state: "ready" });
    expect(ready?.reason).toBeUndefined();
    expect(Date.parse(ready?.since ?? "")).toBeGreaterThan(Date.parse(first?.since ?? ""));
    expect(JSON.stringify(await sandboxes())).not.toContain(SECRET);
  });

  test("/debug/sandboxes shows a name that two namespaces have as ambiguous, in both", async () => {
    stage.provider.set({ name: "twin", namespace: "one", uid: "twin-1" });
    stage.provider.set({ name: "twin", namespace: "two", uid: "twin-2" });
    const { sandboxes: twins, matched } = await sandboxes("?state=ambiguous");
    expect([matched, twins.map(({ namespace }) => namespace)]).toEqual([2, ["one", "two"]]);
    expect((await sandboxes("?namespace=two&q=twin")).sandboxes.map(({ uid }) => uid)).toEqual(["twin-2"]);
  });

  test("/debug/sandboxes sorts by state: what needs attention comes first, a faulty policy before ready", async () => {
    await using sorted = await startDebugStage();
    sorted.provider.set({ name: "a-ready" });
    sorted.provider.set({ name: "b-faulty", policy: { fault: "unknown annotation" } });
    sorted.provider.set({ name: "c-waits", ready: false, notReady: "odd", policy: { fault: "unknown annotation" } });
    sorted.provider.set({ name: "d-twin", namespace: "one", uid: "1" });
    sorted.provider.set({ name: "d-twin", namespace: "two", uid: "2" });
    const namesOf = async (query: string) => (await sandboxes(query, sorted)).sandboxes.map(({ id }) => id);
    const rising = ["c-waits", "d-twin", "d-twin", "b-faulty", "a-ready"];
    expect(await namesOf("?sort=state")).toEqual(rising);
    expect(await namesOf("?sort=state&order=desc")).toEqual(rising.toReversed());
  });

  test("/debug/sandboxes shows the addresses of ports", async () => {
    stage.provider.set({ name: "ports", endpoint: "80=127.0.0.1:81", ports: new Map([[80, "127.0.0.1:81"]]) });
    expect((await row("ports"))?.ports).toEqual([{ port: 80, address: "127.0.0.1:81" }]);
  });

  test.each([
    "limit=0",
    "limit=501",
    "limit=x",
    "state=odd",
    "sort=token",
    "order=up",
    "cursor=!!",
    "cursor=bnVsbA",
    `cursor=${"A".repeat(2_000)}`,
    `q=${"x".repeat(300)}`,
  ])("/debug/sandboxes answers 400 to ?%s", async (query) => {
    const answer = await askRaw(stage.adminPort, `/debug/sandboxes?${query}`);
    expect(answer.status).toBe(400);
    expect(answer.text).toStartWith('{"error":"');
  });

  test("/debug/sandboxes forgets the numbers of a sandbox that is gone, and keeps them through a new address", async () => {
    stage.provider.set({ name: "moves" });
    await send("/", "moves");
    await eventually(async () => (await row("moves"))?.requests === 1);
    stage.provider.set({ name: "moves", endpoint: "127.0.0.1", ports: undefined, ready: true, notReady: "" });
    stage.provider.set({ name: "moves", endpoint: "localhost" });
    expect((await row("moves"))?.requests).toBe(1);
    stage.provider.table.remove("default", "moves");
    stage.provider.set({ name: "moves" });
    expect((await row("moves"))?.requests).toBe(0);
  });
});

describe("/debug/sandboxes with 10,000 sandboxes", () => {
  const COUNT = 10_000;
  let large: DebugStage;
  beforeAll(async () => {
    const provider = createTableProvider();
    for (let at = 0; at < COUNT; at++) {
      const ready = at % 10 !== 0;
      const change = { namespace: `ns-${at % 7}`, ready, notReady: ready ? "" : "sandbox not ready: it starts" };
      provider.set({ name: `box-${String(at).padStart(5, "0")}`, ...change });
    }
    large = await startDebugStage({}, { provider });
  });
  afterAll(() => large[Symbol.asyncDispose]());

  test.each(["name", "state", "since", "last-use", "open", "errors"])(
    "/debug/sandboxes gives each once over all pages, by %s, while others come and go",
    async (sort) => {
      const seen = new Set<string>();
      let query = `?limit=500&q=box-&sort=${sort}`;
      for (let pages = 0; pages < 30; pages++) {
        const page = await sandboxes(query, large);
        expect(page.sandboxes.length).toBeLessThanOrEqual(500);
        for (const { id } of page.sandboxes) {
          expect(seen.has(id)).toBe(false);
          seen.add(id);
        }
        large.provider.set({ name: `new-${pages}` });
        if (page.next === undefined) break;
        query = `?limit=500&q=box-&sort=${sort}&cursor=${page.next}`;
      }
      expect(seen.size).toBe(COUNT);
    },
  );

  test("/debug/sandboxes finds by text, state and namespace, and says how many match", async () => {
    const page = await sandboxes("?q=BOX-0012&limit=5", large);
    expect([page.matched, page.sandboxes.length]).toEqual([10, 5]);
    expect(page.sandboxes.map(({ id }) => id)).toEqual([0, 1, 2, 3, 4].map((at) => `box-0012${at}`));
    expect((await sandboxes("?state=not-ready&q=box-", large)).matched).toBe(COUNT / 10);
    expect((await sandboxes("?namespace=ns-3", large)).matched).toBe(Math.ceil((COUNT - 3) / 7));
    const falling = await sandboxes("?order=desc&q=box-&limit=1", large);
    expect(falling.sandboxes[0]?.id).toBe(`box-0${COUNT - 1}`);
  });

  test("/debug/sandboxes lets other work have its turns, whatever is asked at a time", async () => {
    let turns = 0;
    let isOver = false;
    const count = () => {
      turns += 1;
      if (!isOver) setImmediate(count);
    };
    setImmediate(count);
    const asked = Array.from({ length: 40 }, () => askRaw(large.adminPort, "/debug/sandboxes?q=nothing-like-it"));
    const answers = await Promise.all(asked);
    isOver = true;
    // Who is one too many is told so at once, and nothing is lost for the others.
    for (const { status: code } of answers) expect(code).toBeOneOf([200, 503]);
    const done = answers.filter((answer) => answer.status === 200).length;
    expect(done).toBeGreaterThan(0);
    expect(turns).toBeGreaterThan(done);
    expect((await askRaw(large.adminPort, "/debug/sandboxes?limit=1")).status).toBe(200);
  });

  test("/debug/sandboxes is not held up by readers that do not read", async () => {
    const stalled = await Promise.all(Array.from({ length: 30 }, () => openRaw(large.adminPort)));
    for (const connection of stalled) {
      connection.socket.pause();
      connection.write("GET /debug/sandboxes?limit=500 HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(3));
    }
    await eventually(async () => (await sandboxes("?limit=1&q=box-", large)).matched === COUNT);
    for (const connection of stalled) connection.destroy();
  });
});

describe("/debug/requests", () => {
  test("/debug/requests tells open requests, the oldest first, without path or headers", async () => {
    stage.provider.set({ name: "busy" });
    const open = [];
    for (const [index, method] of ["GET", "DELETE", "GET"].entries()) {
      const connection = await openRaw(stage.port);
      connection.write(
        `${method} /hang?${SECRET} HTTP/1.1\r\nHost: h\r\nOpenSandbox-Ingress-To: busy-${upstream.port}\r\n` +
          `X-Request-Id: order-${index}\r\nAuthorization: ${SECRET}\r\n\r\n`,
      );
      open.push(connection);
      await eventually(async () => (await requests("?sandbox=busy")).open === index + 1);
    }
    const seen = await requests("?sandbox=busy");
    expect(seen.requests.map(({ requestId }) => requestId)).toEqual(["order-0", "order-1", "order-2"]);
    expect(seen.requests[1]).toMatchObject({
      sandboxId: "busy",
      uid: "uid-busy",
      port: upstream.port,
      form: "header",
      method: "DELETE",
      bytesIn: 0,
      bytesOut: 0,
      client: "127.0.0.1",
    });
    expect(seen.requests[1]?.state).toBeOneOf(["connecting", "waiting"]);
    expect(JSON.stringify(seen)).not.toContain(SECRET);
    const oldest = await requests("?sandbox=busy&limit=1");
    expect([oldest.open, oldest.requests.length, oldest.requests[0]?.requestId]).toEqual([3, 1, "order-0"]);
    for (const connection of open) connection.destroy();
    await eventually(async () => (await requests("?sandbox=busy")).open === 0);
  });

  test.each(["0", "501", "-1", "1e2"])("/debug/requests answers 400 to limit=%s", async (limit) => {
    expect((await askRaw(stage.adminPort, `/debug/requests?limit=${limit}`)).status).toBe(400);
  });
});

describe("/debug/failures", () => {
  test("/debug/failures tells the last hundred, the newest first, without path, query and credential", async () => {
    for (let at = 0; at < FAILURES_MAX + 5; at++) {
      await send(`/x-${SECRET}?${SECRET}`, `nobody-${at}`, `OpenSandbox-Secure-Access: ${SECRET}\r\n`);
    }
    const list = await failures();
    expect(list.length).toBe(FAILURES_MAX);
    expect(list.map(({ sandboxId }) => sandboxId)).toEqual(
      Array.from({ length: FAILURES_MAX }, (_, at) => `nobody-${FAILURES_MAX + 4 - at}`),
    );
    expect(list[0]).toMatchObject({ method: "GET", form: "header", status: 404, code: "sandbox_not_found" });
    expect(Date.parse(list[0]?.time ?? "")).toBeGreaterThan(Date.now() - HOUR_MS);
    expect(JSON.stringify(list)).not.toContain(SECRET);
  });

  test("/debug/failures has what a sandbox answered with 500, and not who left early", async () => {
    await send("/fail", "sb", "X-Request-Id: failed\r\n");
    const [newest] = await once(failures, ([first]) => first?.requestId === "failed");
    expect(newest).toMatchObject({ status: 500, sandboxId: "sb", port: upstream.port });
    const leaving = await openRaw(stage.port);
    leaving.write(`GET /hang HTTP/1.1\r\nHost: h\r\nOpenSandbox-Ingress-To: sb-${upstream.port}\r\n\r\n`);
    await eventually(async () => (await requests("?sandbox=sb")).open === 1);
    leaving.destroy();
    await eventually(async () => (await requests("?sandbox=sb")).open === 0);
    expect((await failures())[0]?.requestId).toBe("failed");
  });
});

describe("/debug/status", () => {
  test("/debug/status tells rates, quantiles, statuses, refusals, sandboxes and the event loop", async () => {
    const before = await status();
    for (let at = 0; at < 20; at++) await send("/");
    await send("/fail");
    await send("/", "nobody");
    const after = await once(status, (seen) => seen.traffic.requests >= before.traffic.requests + 22);
    const { traffic } = after;
    const total = (list: readonly { name: string; total: number }[], name: string) =>
      list.find((each) => each.name === name)?.total ?? 0;
    expect(total(traffic.statuses, "200") - total(before.traffic.statuses, "200")).toBe(20);
    expect(total(traffic.refusals, "sandbox_not_found") - total(before.traffic.refusals, "sandbox_not_found")).toBe(1);
    expect(traffic.requestsPerSecond).toBeGreaterThan(0);
    expect(traffic.p50Ms).toBeGreaterThan(0);
    expect(traffic.p99Ms ?? 0).toBeGreaterThanOrEqual(traffic.p50Ms ?? 0);
    expect(after).toMatchObject({ version: "1.2.3", phase: "ready", sandboxes: { synced: true, ageMs: 0 } });
    expect(after.redis).toBeUndefined();
    await eventually(async () => (await status()).traffic.history.length > 0);
    await eventually(async () => (await status()).eventLoop.p99Ms !== undefined);
  });
});
