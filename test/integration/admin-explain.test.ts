import { afterAll, beforeAll, describe, expect, test } from "bun:test";

import { parseAccessKeys } from "../../src/access/keys.ts";
import { signRoute } from "../../src/access/signature.ts";
import type { ExplainAnswer } from "../../src/admin/explain-page.ts";
import type { IngressErrorCode } from "../../src/errors.ts";
import { FAILURE_BURST } from "../../src/access/failure-limiter.ts";
import { ADMIN_BODY_MAX_BYTES } from "../../src/admin/admin-server.ts";
import { formatLabelRoute, formatUriRoute } from "../../src/route/format-route.ts";
import { eventually } from "../../scripts/lib/eventually.ts";
import { openRaw } from "../../scripts/lib/stage/raw-client.ts";
import { createTableProvider, type TableProvider } from "../../scripts/lib/stage/table-provider.ts";
import type { listRequests } from "../../src/admin/request-list.ts";
import type { SandboxPage } from "../../src/admin/sandbox-list.ts";
import type { describeStatus } from "../../src/admin/status.ts";
import { DEFAULT_HOLD } from "../../scripts/lib/stage/proxy-harness.ts";
import { askRaw } from "../support/ask-raw.ts";
import { policyOf } from "../support/policy-of.ts";
import { type DebugStage, startDebugStage } from "../support/debug-stage.ts";

const KEY = "a=AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const TOKEN = "token-of-the-sandbox";
const keys = parseAccessKeys(KEY);

const upstream = Bun.serve({
  hostname: "127.0.0.1",
  port: 0,
  async fetch(request) {
    if (new URL(request.url).pathname === "/hang") await Bun.sleep(3_600_000);
    return new Response("hello");
  },
});
const PORT = upstream.port ?? 0;

function signed(sandboxId: string, seconds: number) {
  const target = { sandboxId, port: PORT, expiresB36: Math.floor(Date.now() / 1000 + seconds).toString(36) };
  return { sandboxId, port: PORT, signature: signRoute(keys, "a", target) };
}

function fill(provider: TableProvider): TableProvider {
  provider.set({ name: "open" });
  provider.set({ name: "secured", accessToken: TOKEN });
  provider.set({ name: "waits", ready: false, notReady: "sandbox not ready: sandbox waits not ready (Pending)" });
  provider.set({ name: "hidden", ready: false, notReady: "sandbox not ready: it starts", accessToken: TOKEN });
  provider.set({ name: "ports", endpoint: `1=127.0.0.1:${PORT}`, ports: new Map([[1, `127.0.0.1:${PORT}`]]) });
  provider.set({ name: "twin", namespace: "one", uid: "twin-1" });
  provider.set({ name: "twin", namespace: "two", uid: "twin-2" });
  provider.set({ name: "full" });
  const limited = (name: string, annotations: Readonly<Record<string, string>>, accessToken = "") => {
    provider.set({ name, accessToken, policy: policyOf(annotations) });
  };
  limited("closed", { "allowed-ports": "x" });
  limited("ports-only", { "allowed-ports": `${PORT}` });
  limited("reads", { "allowed-methods": "GET" });
  limited("pages", { "allowed-origins": "https://app.example.com" });
  limited("local", { "client-cidrs": "127.0.0.0/8" });
  limited("remote", { "client-cidrs": "203.0.113.0/24" });
  limited("small", { "max-body-size": "10" });
  limited("rated", { rate: "1/h" });
  limited("locked", { "allowed-methods": "GET" }, TOKEN);
  limited("one", { "max-requests": "1", "response-timeout": "soon" });
  return provider;
}

const LIMITS = { maxBodyBytes: 1_000, maxRequestsPerSandbox: 2 };
let byHeader: DebugStage;
let byPath: DebugStage;
beforeAll(async () => {
  const parts = () => ({ provider: fill(createTableProvider()), accessKeys: KEY });
  byHeader = await startDebugStage(LIMITS, parts());
  byPath = await startDebugStage({ ...LIMITS, mode: "uri" }, parts());
});
afterAll(async () => {
  await byHeader[Symbol.asyncDispose]();
  await byPath[Symbol.asyncDispose]();
  await upstream.stop(true);
});

const JSON_TYPE = { "Content-Type": "application/json" };
const ask = (stage: DebugStage, question: unknown) =>
  askRaw(stage.adminPort, "/debug/explain", { method: "POST", headers: JSON_TYPE, body: JSON.stringify(question) });

async function explain(stage: DebugStage, question: unknown): Promise<ExplainAnswer> {
  const { status, text } = await ask(stage, question);
  expect(status).toBe(200);
  const answer: unknown = JSON.parse(text);
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- the tests look at what is there
  return answer as ExplainAnswer;
}

const step = (answer: ExplainAnswer, name: string) => answer.steps.find((each) => each.name === name);

interface Case {
  readonly method?: string;
  readonly path?: string;
  readonly headers: Readonly<Record<string, string>>;
}
const to = (route: string, headers: Readonly<Record<string, string>> = {}): Case => ({
  headers: { Host: "h.test", "OpenSandbox-Ingress-To": route, ...headers },
});
const UPGRADE = { Connection: "Upgrade", Upgrade: "websocket", "Sec-WebSocket-Version": "13" };

const CASES: readonly (readonly [string, () => Case])[] = [
  ["an open sandbox", () => to(`open-${PORT}`)],
  ["an open sandbox by Host", () => ({ headers: { Host: `open-${PORT}.example.com` } })],
  ["the deprecated header", () => ({ headers: { Host: "h", "OPEN-SANDBOX-INGRESS": `open-${PORT}` } })],
  ["no route", () => ({ headers: { Host: "example.com" } })],
  ["no port", () => to("open")],
  ["an invalid port", () => to("open-99999")],
  ["an invalid id", () => to("a/b-80")],
  ["an invalid Host", () => ({ headers: { Host: "a b" } })],
  ["a sandbox that is not there", () => to(`opne-${PORT}`)],
  ["an ambiguous one", () => to(`twin-${PORT}`)],
  ["one that is not ready", () => to(`waits-${PORT}`)],
  ["a port that the sandbox does not name", () => to("ports-2")],
  ["a port that the sandbox names", () => to("ports-1")],
  ["a secured one without a credential", () => to(`secured-${PORT}`)],
  ["a secured one that is not ready, without a credential", () => to(`hidden-${PORT}`)],
  [
    "a secured one that is not ready, with the token",
    () => to(`hidden-${PORT}`, { "OpenSandbox-Secure-Access": TOKEN }),
  ],
  ["the right token", () => to(`secured-${PORT}`, { "OpenSandbox-Secure-Access": TOKEN })],
  ["a wrong token", () => to(`secured-${PORT}`, { "OpenSandbox-Secure-Access": "other" })],
  ["a signed route", () => to(formatLabelRoute(signed("secured", 60)))],
  ["an expired route", () => to(formatLabelRoute(signed("secured", -60)))],
  ["a wrong signature", () => to(formatLabelRoute(signed("secured", 60)).replace(/.{9}$/, "00000000a"))],
  ["a key that is unknown", () => to(formatLabelRoute(signed("secured", 60)).replace(/.$/, "z"))],
  ["a method that is not forwarded", () => ({ ...to(`open-${PORT}`), method: "TRACE" })],
  ["a GET with a body", () => to(`open-${PORT}`, { "Content-Length": "3" })],
  ["a body that is too large", () => ({ ...to(`open-${PORT}`, { "Content-Length": "2000" }), method: "POST" })],
  ["too many connection options", () => to(`open-${PORT}`, { Connection: Array(100).fill("x").join(",") })],
  ["a loop", () => to(`open-${PORT}`, { "CDN-Loop": "opensandbox-ingress, opensandbox-ingress, opensandbox-ingress" })],
  ["another version of WebSocket", () => to(`open-${PORT}`, { ...UPGRADE, "Sec-WebSocket-Version": "8" })],
  ["a handshake without a key", () => to(`open-${PORT}`, UPGRADE)],
  ["a full sandbox", () => to(`full-${PORT}`)],
  ["a policy without a usable value", () => to(`closed-${PORT}`)],
  ["a port that is allowed", () => to(`ports-only-${PORT}`)],
  ["a port that is not allowed", () => to("ports-only-1")],
  ["a method that is allowed", () => ({ ...to(`reads-${PORT}`), method: "HEAD" })],
  ["a method that is not allowed", () => ({ ...to(`reads-${PORT}`), method: "DELETE" })],
  ["an origin that is allowed", () => to(`pages-${PORT}`, { Origin: "https://app.example.com" })],
  ["an origin that is not allowed", () => to(`pages-${PORT}`, { Origin: "https://evil.example" })],
  ["no origin where some are allowed", () => to(`pages-${PORT}`)],
  ["a client that is allowed", () => to(`local-${PORT}`)],
  ["a client that is not allowed", () => to(`remote-${PORT}`)],
  ["a body above that of the sandbox", () => ({ ...to(`small-${PORT}`, { "Content-Length": "11" }), method: "POST" })],
  ["the first request of a rate", () => to(`rated-${PORT}`)],
  ["the second request of a rate", () => to(`rated-${PORT}`)],
  ["the method of a secured one without a credential", () => ({ ...to(`locked-${PORT}`), method: "PUT" })],
  [
    "the method of a secured one with the token",
    () => ({ ...to(`locked-${PORT}`, { "OpenSandbox-Secure-Access": TOKEN }), method: "PUT" }),
  ],
  ["the first request of a rate by path", () => ({ path: `/rated/${PORT}/`, headers: { Host: "h" } })],
  ["the second request of a rate by path", () => ({ path: `/rated/${PORT}/`, headers: { Host: "h" } })],
  ["a port that is not allowed by path", () => ({ path: "/ports-only/1/", headers: { Host: "h" } })],
  ["a method that is not allowed by path", () => ({ path: `/reads/${PORT}/`, headers: { Host: "h" }, method: "PUT" })],
  [
    "an origin that is not allowed by path",
    () => ({ path: `/pages/${PORT}/`, headers: { Host: "h", Origin: "null" } }),
  ],
  ["a client that is not allowed by path", () => ({ path: `/remote/${PORT}/`, headers: { Host: "h" } })],
  ["an invalid port policy by path", () => ({ path: `/closed/${PORT}/`, headers: { Host: "h" } })],
  ["a path", () => ({ path: `/open/${PORT}/x/y?q=1`, headers: { Host: "h" } })],
  ["a signed path", () => ({ path: `${formatUriRoute(signed("secured", 60))}/x`, headers: { Host: "h" } })],
  ["an expired path", () => ({ path: `${formatUriRoute(signed("secured", -60))}/x`, headers: { Host: "h" } })],
  ["a path without a port", () => ({ path: "/open", headers: { Host: "h" } })],
  ["the root", () => ({ path: "/", headers: { Host: "h" } })],
];

/** Sends a request and gives the code of its refusal, as the log has it; undefined: it was forwarded. */
async function refusalOf(
  stage: DebugStage,
  { method = "GET", path = "/", headers }: Case,
): Promise<IngressErrorCode | undefined> {
  const before = stage.proxy.accessLog.length;
  const raw = await openRaw(stage.port);
  const fields = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  raw.write(`${method} ${path} HTTP/1.1\r\n${fields.join("")}\r\n`);
  const entry = await eventually(() => {
    const found = stage.proxy.accessLog[before];
    if (found === undefined) throw new Error(`nothing was logged: ${raw.received}`);
    return found;
  });
  raw.destroy();
  return entry.code;
}

describe.each([
  ["header", () => byHeader],
  ["uri", () => byPath],
])("/debug/explain says what the proxy does, in mode %s", (_, stageOf) => {
  let hanging: readonly { destroy(): void }[] = [];
  beforeAll(async () => {
    const stage = stageOf();
    const head = `Host: h\r\nOpenSandbox-Ingress-To: full-${PORT}\r\n\r\n`;
    const isPath = stage === byPath;
    hanging = await Promise.all(
      [1, 2].map(async () => {
        const raw = await openRaw(stage.port);
        raw.write(`GET ${isPath ? `/full/${PORT}` : ""}/hang HTTP/1.1\r\n${head}`);
        return raw;
      }),
    );
    await eventually(() => stage.proxy.server.inFlight() === 2);
  });
  afterAll(() => {
    for (const raw of hanging) raw.destroy();
  });

  test.each(CASES)("/debug/explain says what the proxy does with %s", async (_name, build) => {
    const stage = stageOf();
    const { method = "GET", path = "/", headers } = build();
    const url = `http://asked.invalid${path}`;
    const answer = await explain(stage, { url, method, headers });
    const code = await refusalOf(stage, { method, path, headers });
    expect({ forwarded: answer.forwarded, code: answer.code }).toEqual({
      forwarded: code === undefined,
      code,
    });
    expect(answer.steps.length).toBeGreaterThan(0);
  });
});

describe("/debug/explain", () => {
  test("/debug/explain tells each step of a request that would be forwarded", async () => {
    const answer = await explain(byHeader, { route: `open-${PORT}` });
    expect(answer).toMatchObject({ forwarded: true, route: { form: "header", sandboxId: "open", port: PORT } });
    expect(answer.steps.map(({ name, outcome }) => `${name} ${outcome}`)).toEqual(
      ["request", "form", "body", "list", "sandbox", "access", "policy", "ready", "address", "limits"].map(
        (name) => `${name} ok`,
      ),
    );
    expect(step(answer, "address")?.text).toBe(`127.0.0.1:${PORT}`);
    expect(step(answer, "limits")?.text).toContain("0 of at most 2 of this sandbox");
    expect(answer.sandbox).toMatchObject({ id: "open", namespace: "default", state: "ready" });
  });

  test("/debug/explain and /debug/sandboxes name the annotations and what is wrong with them", async () => {
    const textOf = async (question: Readonly<Record<string, unknown>>) =>
      step(await explain(byHeader, question), "policy")?.text;
    expect(await textOf({ route: `open-${PORT}` })).toBe("no annotation limits the sandbox");
    expect(await textOf({ route: `reads-${PORT}` })).toBe("the annotations of the sandbox allow it: allowed-methods");
    expect(await textOf({ route: "ports-only-1" })).toBe("port 1 is not in allowed-ports");
    expect(await textOf({ route: `remote-${PORT}` })).toBe("the client's address 127.0.0.1 is not in client-cidrs");
    expect(await textOf({ route: `closed-${PORT}` })).toStartWith(
      `port ${PORT} is not in allowed-ports; invalid annotation ingress.opensandbox.io/allowed-ports, allowing nothing: `,
    );
    const one = await explain(byHeader, { route: `one-${PORT}` });
    expect(one.forwarded).toBe(true);
    expect(step(one, "policy")?.text).toStartWith(
      "the annotations of the sandbox allow it: max-requests; invalid annotation ingress.opensandbox.io/response-timeout, using the default",
    );
    expect(step(one, "limits")?.text).toContain("0 of at most 1 of this sandbox");
    const { sandboxes } = await byHeader.read<SandboxPage>("/debug/sandboxes?q=closed");
    expect(sandboxes[0]?.policyFault).toContain("allowed-ports, allowing nothing");
    const others = await byHeader.read<SandboxPage>("/debug/sandboxes?q=reads");
    expect(others.sandboxes[0]).not.toHaveProperty("policyFault");
  });

  test("/debug/explain counts no request in a rate", async () => {
    await using stage = await startDebugStage(LIMITS, { provider: fill(createTableProvider()) });
    for (let at = 0; at < 3; at++) expect((await explain(stage, { route: `rated-${PORT}` })).forwarded).toBe(true);
    expect(await refusalOf(stage, to(`rated-${PORT}`))).toBeUndefined();
    expect((await explain(stage, { route: `rated-${PORT}` })).code).toBe("rate_exceeded");
  });

  test("/debug/explain takes a route in whatever form it was pasted", async () => {
    for (const route of [`open-${PORT}`, `OpenSandbox-Ingress-To: open-${PORT}`]) {
      expect((await explain(byHeader, { route })).route?.form).toBe("header");
    }
    for (const route of [`open-${PORT}.example.com`, `open-${PORT}.example.com:8443`, `open-${PORT}.example.com/x`]) {
      expect((await explain(byHeader, { route })).route?.form).toBe("host");
    }
    expect((await explain(byHeader, { url: `wss://open-${PORT}.example.com/x` })).forwarded).toBe(true);
    expect((await explain(byPath, { route: `/open/${PORT}/x` })).route?.form).toBe("uri");
    expect((await explain(byPath, { url: `https://example.com/open/${PORT}/x` })).forwarded).toBe(true);
  });

  test("/debug/explain names near sandboxes, and goes on behind a refusal", async () => {
    const missing = await explain(byHeader, { route: `secure-${PORT}` });
    expect(missing).toMatchObject({ forwarded: false, status: 404, code: "sandbox_not_found", nearest: ["secured"] });
    const hidden = await explain(byHeader, { route: `hidden-${PORT}` });
    expect(hidden).toMatchObject({ forwarded: false, status: 401, code: "signature_required" });
    expect(step(hidden, "ready")).toMatchObject({ outcome: "refused", code: "sandbox_not_ready" });
    expect(step(hidden, "ready")?.text).toMatch(/^sandbox not ready: it starts, seen like this since \d{4}-/);
  });

  test("/debug/explain shows neither token nor signature", async () => {
    const route = formatLabelRoute(signed("secured", 60));
    const { text } = await ask(byHeader, {
      url: `http://x/private-path?private=query`,
      headers: { "OpenSandbox-Ingress-To": route, "OpenSandbox-Secure-Access": TOKEN, Authorization: "private-header" },
    });
    expect(text).toContain("the token is the sandbox's");
    for (const secret of [TOKEN, route.slice(-9), "private"]) expect(text).not.toContain(secret);
  });

  test("/debug/explain changes no number of the sandbox, and fails no request in the list of failures", async () => {
    const before = byHeader.proxy.server.inspection.failures().length;
    await explain(byHeader, { route: "nobody-80" });
    await explain(byHeader, { route: `waits-${PORT}` });
    expect(byHeader.proxy.server.inspection.failures().length).toBe(before);
    const { sandboxes } = await byHeader.read<{ sandboxes: readonly unknown[] }>("/debug/sandboxes?q=waits");
    expect(sandboxes).toMatchObject([{ requests: 0, errors: 0 }]);
  });

  test("/debug/explain waits for the first list no longer than a request does, and says what is wrong", async () => {
    const provider = createTableProvider({ synced: false });
    provider.setStatus({ fault: "Kubernetes: forbidden" });
    await using stage = await startDebugStage(
      {},
      { provider: { ...provider, whenSynced: () => Promise.resolve(false) } },
    );
    const answer = await explain(stage, { route: "open-80" });
    expect(answer).toMatchObject({ forwarded: false, status: 502, code: "kubernetes_unavailable" });
    expect(step(answer, "list")?.text).toContain("Kubernetes: forbidden");
  });

  test("/debug/explain counts wrong signatures as guesses", async () => {
    await using stage = await startDebugStage({}, { provider: fill(createTableProvider()), accessKeys: KEY });
    const wrong = (digit: number) =>
      formatLabelRoute(signed("secured", 60)).replace(/.{9}$/, `0000000${digit.toString(16)}a`);
    for (let guess = 0; guess < FAILURE_BURST; guess++) {
      expect((await explain(stage, { route: wrong(guess % 16) })).code).toBe("signature_invalid");
    }
    expect((await explain(stage, { route: wrong(3) })).code).toBe("access_throttled");
    expect(await refusalOf(stage, to(wrong(4)))).toBe("access_throttled");
  });

  test.each<[string, unknown]>([
    ["nothing", {}],
    ["both", { url: "http://a/", route: "a-80" }],
    ["a list", []],
    ["an empty route", { route: " " }],
    ["a route that is not a string", { route: 7 }],
    ["another scheme", { url: "file:///etc/passwd" }],
    ["an invalid URL", { url: "http://[::/" }],
    ["an invalid method", { route: "a-80", method: "G E T" }],
    ["headers that are a list", { route: "a-80", headers: ["x"] }],
    ["a header that is not a string", { route: "a-80", headers: { a: 1 } }],
    ["a header with a line end", { route: "a-80", headers: { a: "b\r\nc: d" } }],
    ["an invalid header name", { route: "a-80", headers: { "a b": "c" } }],
    ["a route with a line end", { route: "a\nb" }],
    ["too many headers", { route: "a-80", headers: { a: Array(300).fill("b") } }],
  ])("/debug/explain answers 400 to %s, and repeats nothing", async (_, question) => {
    const { status, text } = await ask(byHeader, question);
    expect([status, text.startsWith('{"error":"')]).toEqual([400, true]);
    expect(text).not.toContain("passwd");
  });

  test("/debug/explain refuses huge bodies, bodies that are not JSON, and other types", async () => {
    const post = (body: string, headers: Readonly<Record<string, string>> = JSON_TYPE) =>
      askRaw(byHeader.adminPort, "/debug/explain", { method: "POST", headers, body });
    expect((await post("{")).status).toBe(400);
    expect((await post('{"route":"a-80"}', { "Content-Type": "text/plain" })).status).toBe(415);
    expect((await post('{"route":"a-80"}', { ...JSON_TYPE, Origin: "https://evil.example" })).status).toBe(403);
    expect((await post(`{"route":"${"a".repeat(100_000)}-80"}`)).status).toBe(200);
    const huge = `{"route":"${"a".repeat(ADMIN_BODY_MAX_BYTES)}"}`;
    expect((await post(huge)).status).toBe(413);
    const chunked = await openRaw(byHeader.adminPort);
    chunked.write(
      "POST /debug/explain HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n" +
        `${huge.length.toString(16)}\r\n${huge}\r\n0\r\n\r\n`,
    );
    expect(await chunked.until((text) => text.includes("\r\n\r\n"))).toMatch(/^HTTP\/1\.1 4(?:08|13) /);
    chunked.destroy();
  });

  test("/debug/explain keeps answering while many questions never arrive", async () => {
    const slow = await Promise.all(Array.from({ length: 50 }, () => openRaw(byHeader.adminPort)));
    for (const raw of slow) {
      raw.write(
        'POST /debug/explain HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"ro',
      );
    }
    expect((await explain(byHeader, { route: `open-${PORT}` })).forwarded).toBe(true);
    for (const raw of slow) raw.destroy();
  });

  test("/debug/explain says that the watch is broken while it is", async () => {
    await using stage = await startDebugStage({}, { provider: fill(createTableProvider()) });
    const list = async () => step(await explain(stage, { route: `open-${PORT}` }), "list")?.text;
    expect(await list()).toEndWith("the list is up to date");
    stage.provider.setStatus({ fault: "no connection to the API server" });
    expect(await list()).toEndWith("the watch is broken, so changes are not seen: no connection to the API server");
  });

  test("/debug/explain, /debug/sandboxes and /debug/status tell of requests that wait", async () => {
    const hold = { ...DEFAULT_HOLD, holdMs: 60_000 };
    await using stage = await startDebugStage({ hold }, { provider: fill(createTableProvider()) });
    const client = await openRaw(stage.port);
    client.write(`GET / HTTP/1.1\r\nHost: h\r\nOpenSandbox-Ingress-To: waits-${PORT}\r\n\r\n`);
    await eventually(() => stage.proxy.server.inspection.waits().held === 1);
    const { steps } = await explain(stage, { route: `waits-${PORT}` });
    expect(steps.find(({ name }) => name === "ready")?.text).toContain(
      "a request waits for up to 60 s before it is refused; requests that wait now: 1",
    );
    const { sandboxes } = await stage.read<SandboxPage>("/debug/sandboxes?q=waits");
    expect(sandboxes).toMatchObject([{ id: "waits", open: 1, held: 1 }]);
    const status = await stage.read<ReturnType<typeof describeStatus>>("/debug/status");
    expect(status).toMatchObject({ traffic: { held: 1 }, sandboxes: { waking: 0 } });
    const { requests } = await stage.read<ReturnType<typeof listRequests>>("/debug/requests");
    expect(requests).toMatchObject([{ sandboxId: "waits", state: "held" }]);
    client.destroy();
  });
});
