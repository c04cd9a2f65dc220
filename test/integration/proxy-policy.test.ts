import { afterAll, afterEach, beforeEach, describe, expect, test } from "bun:test";

import { parseAddressSet } from "../../src/address.ts";
import { type Clock, systemClock } from "../../src/clock.ts";
import type { ProxyConfig } from "../../src/proxy/proxy-config.ts";
import { parseRate } from "../../src/quantity.ts";
import type { SandboxRecord } from "../../src/sandbox/provider.ts";
import { eventually } from "../../scripts/lib/eventually.ts";
import { DEFAULT_BROWSER, DEFAULT_HOLD, type ProxyHarness, startProxy } from "../../scripts/lib/stage/proxy-harness.ts";
import { openRaw, type RawAnswer, type RawConnection } from "../../scripts/lib/stage/raw-client.ts";
import { policyOf } from "../support/policy-of.ts";

const TOKEN = "token-of-the-sandbox";
const KEEP_OPEN = "/keep-open";

/** What the sandbox got: method, path and body. */
let got: string[] = [];
const upstream = Bun.serve({
  hostname: "127.0.0.1",
  port: 0,
  idleTimeout: 0,
  async fetch(request, server) {
    const { pathname } = new URL(request.url);
    got.push(`${request.method} ${pathname}`);
    if (pathname === "/hang") return new Promise<Response>(() => {});
    if (server.upgrade(request, { data: undefined })) return undefined;
    if (pathname !== KEEP_OPEN) return new Response(`${(await request.bytes()).byteLength} bytes`);
    return new Response(new ReadableStream({ start: (controller) => controller.enqueue("begin") }));
  },
  websocket: { message: (socket, message) => void socket.send(message) },
});
const PORT = upstream.port ?? 0;
afterAll(() => upstream.stop(true));

/** How far the test has moved the time. */
let movedMs = 0;
/** The machine's clock, which the test can move forward. Timers are those of the machine. */
const clock: Clock = {
  now: () => systemClock.now() + movedMs,
  monotonic: () => systemClock.monotonic() + movedMs,
  setTimer: (delayMs, fire) => systemClock.setTimer(delayMs, fire),
};

type Annotations = Readonly<Record<string, string>>;
const FORMS = ["header", "host", "uri"] as const;
type Form = (typeof FORMS)[number];

interface Asked {
  readonly form?: Form;
  readonly sandbox?: string;
  readonly port?: number;
  readonly method?: string;
  readonly path?: string;
  /** Lines without line ends. */
  readonly headers?: readonly string[];
  readonly body?: string;
}

let proxies: Record<"header" | "uri", ProxyHarness>;
let connections: RawConnection[] = [];

function start(config: Partial<ProxyConfig> = {}): void {
  proxies = {
    header: startProxy({ ...config, mode: "header" }, { clock }),
    uri: startProxy({ ...config, mode: "uri" }, { clock }),
  };
}

function setSandbox(annotations: Annotations, record: Partial<SandboxRecord> = {}): void {
  for (const { provider } of Object.values(proxies)) {
    provider.set({ name: "sb", policy: policyOf(annotations), ...record });
  }
}

async function send(asked: Asked = {}): Promise<RawConnection> {
  const { form = "header", sandbox = "sb", port = PORT, method = "GET", path = "/", headers = [], body } = asked;
  const connection = await openRaw(proxies[form === "uri" ? "uri" : "header"].port);
  connections.push(connection);
  const lines = [
    `${method} ${form === "uri" ? `/${sandbox}/${port}` : ""}${path} HTTP/1.1`,
    `Host: ${form === "host" ? `${sandbox}-${port}.example.com` : "h.test"}`,
    ...(form === "header" ? [`OpenSandbox-Ingress-To: ${sandbox}-${port}`] : []),
    ...headers,
    ...(body === undefined || headers.some((line) => line.startsWith("Transfer-"))
      ? []
      : [`Content-Length: ${body.length}`]),
  ];
  connection.write(`${lines.join("\r\n")}\r\n\r\n${body ?? ""}`);
  return connection;
}

async function ask(asked: Asked = {}): Promise<RawAnswer> {
  const connection = await send(asked);
  const answer = await connection.readAnswer({ head: asked.method === "HEAD" });
  connection.destroy();
  return answer;
}
const statusOf = async (asked?: Asked): Promise<number> => (await ask(asked)).status;

const UPGRADE = [
  "Connection: Upgrade",
  "Upgrade: websocket",
  "Sec-WebSocket-Version: 13",
  "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
];
async function upgradeStatus(asked: Asked = {}): Promise<number> {
  const connection = await send({ ...asked, headers: [...UPGRADE, ...(asked.headers ?? [])] });
  const head = await connection.until((text) => text.includes("\r\n\r\n"));
  connection.destroy();
  return Number(head.slice(9, 12));
}

/** The code of the last refusal, as the log has it. */
const lastCode = (form: Form = "header") => proxies[form === "uri" ? "uri" : "header"].accessLog.at(-1)?.code;

beforeEach(() => {
  got = [];
  movedMs = 0;
  start();
});
afterEach(async () => {
  for (const connection of connections) connection.destroy();
  connections = [];
  for (const proxy of Object.values(proxies)) await proxy[Symbol.asyncDispose]();
});

/** Each guard: what passes it, and what does not. */
const GUARDS: readonly (readonly [
  name: string,
  value: string,
  cases: { readonly pass: Asked; readonly fail: Asked; readonly code: string },
])[] = [
  ["allowed-ports", `${PORT}`, { pass: {}, fail: { port: PORT === 1 ? 2 : PORT - 1 }, code: "port_not_allowed" }],
  [
    "allowed-origins",
    "https://app.example.com",
    {
      pass: { headers: ["Origin: https://app.example.com"] },
      fail: { headers: ["Origin: https://evil.example"] },
      code: "origin_not_allowed",
    },
  ],
  [
    "client-cidrs",
    "203.0.113.0/24",
    {
      pass: { headers: ["X-Forwarded-For: 203.0.113.9"] },
      fail: { headers: ["X-Forwarded-For: 203.0.114.9"] },
      code: "client_not_allowed",
    },
  ],
];

const NOT_READY = { ready: false, notReady: "sandbox not ready: it starts" };

describe.each(FORMS)("a policy in the form %s", (form) => {
  beforeEach(async () => {
    for (const proxy of Object.values(proxies)) await proxy[Symbol.asyncDispose]();
    start({ trustedProxies: parseAddressSet("127.0.0.1") });
  });

  test.each(GUARDS)(
    "a policy with %s of %s refuses others with 403: requests, bodies and WebSockets",
    async (name, value, cases) => {
      setSandbox({ [name]: value });
      const { pass, fail, code } = cases;
      expect(await statusOf({ ...pass, form })).toBe(200);
      expect((await ask({ ...pass, form, method: "POST", body: "abc" })).body).toBe("3 bytes");
      expect(await upgradeStatus({ ...pass, form })).toBe(101);
      expect(got).toHaveLength(3);
      const refusals = [
        () => statusOf({ ...fail, form }),
        () => statusOf({ ...fail, form, method: "POST", body: "abc" }),
        () => upgradeStatus({ ...fail, form }),
      ];
      for (const refused of refusals) {
        expect(await refused()).toBe(403);
        expect<string | undefined>(lastCode(form)).toBe(code);
      }
      expect(got).toHaveLength(3);
    },
  );

  test.each(["allowed-ports", "allowed-methods", "client-cidrs"])(
    "a policy with an invalid %s lets nothing pass",
    async (name) => {
      setSandbox({ [name]: "x y" });
      expect([await statusOf({ form }), await upgradeStatus({ form })]).toEqual([403, 403]);
      expect(got).toEqual([]);
    },
  );

  test("a policy with an invalid allowed-origins lets pass only what has no Origin", async () => {
    setSandbox({ "allowed-origins": "*" });
    const headers = ["Origin: https://app.example.com"];
    expect([await statusOf({ form }), await statusOf({ form, headers })]).toEqual([200, 403]);
    expect(await upgradeStatus({ form, headers })).toBe(403);
    expect(await statusOf({ form, headers: ["Origin: null"] })).toBe(403);
  });

  test("a policy with allowed-methods lets pass those, HEAD with GET, and WebSockets with GET", async () => {
    setSandbox({ "allowed-methods": "GET,PUT" });
    expect(await statusOf({ form })).toBe(200);
    expect(await statusOf({ form, method: "HEAD" })).toBe(200);
    expect(await statusOf({ form, method: "PUT", body: "abc" })).toBe(200);
    expect(await upgradeStatus({ form })).toBe(101);
    for (const method of ["POST", "DELETE", "OPTIONS", "PATCH"]) {
      const { status, headers } = await ask({ form, method });
      expect([method, status]).toEqual([method, 403]);
      expect(headers.some(([field]) => field === "allow")).toBe(false);
      expect(lastCode(form)).toBe("sandbox_method_not_allowed");
    }
    setSandbox({ "allowed-methods": "POST" });
    expect([await statusOf({ form }), await upgradeStatus({ form })]).toEqual([403, 403]);
  });

  test("a policy with max-body-size refuses announced and chunked bodies above it", async () => {
    setSandbox({ "max-body-size": "10" });
    const chunked = (count: number) => ({
      form,
      method: "POST",
      headers: ["Transfer-Encoding: chunked"],
      body: `${count.toString(16)}\r\n${"x".repeat(count)}\r\n0\r\n\r\n`,
    });
    expect((await ask({ form, method: "POST", body: "x".repeat(10) })).body).toBe("10 bytes");
    expect((await ask(chunked(10))).body).toBe("10 bytes");
    expect(await statusOf({ form, method: "POST", body: "x".repeat(11) })).toBe(413);
    expect(await statusOf(chunked(11))).toBe(413);
    expect(lastCode(form)).toBe("body_too_large");
  });

  test("a policy with rate answers 429 with Retry-After, to all clients of the sandbox together", async () => {
    setSandbox({ rate: "3/m" });
    const from = (client: string) => ({ form, headers: [`X-Forwarded-For: ${client}`] });
    expect(await statusOf(from("203.0.113.1"))).toBe(200);
    expect(await statusOf({ ...from("203.0.113.2"), method: "POST", body: "abc" })).toBe(200);
    expect(await upgradeStatus(from("203.0.113.3"))).toBe(101);
    const answer = await ask(from("203.0.113.4"));
    expect(answer.status).toBe(429);
    expect(answer.headers.find(([field]) => field === "retry-after")?.[1]).toMatch(/^(?:19|20)$/);
    const asProblem = await ask({ form, headers: ["Accept: application/problem+json"] });
    expect(asProblem.body).toMatch(/"code":"rate_exceeded".*"retryAfter":(?:19|20)\}/);
    expect(await upgradeStatus(from("203.0.113.4"))).toBe(429);
    movedMs += 20_000;
    expect([await statusOf({ form }), await statusOf({ form })]).toEqual([200, 429]);
    expect(lastCode(form)).toBe("rate_exceeded");
  });

  test("a policy with rate does not count what is refused for another reason", async () => {
    setSandbox({ rate: "1/h" }, NOT_READY);
    for (let times = 0; times < 3; times++) expect(await statusOf({ form })).toBe(503);
    setSandbox({ rate: "2/h", "max-requests": "1" });
    const hanging = await send({ form, path: "/hang" });
    await eventually(() => got.length === 1);
    for (let times = 0; times < 3; times++) expect(await statusOf({ form })).toBe(503);
    expect(lastCode(form)).toBe("too_many_requests_sandbox");
    hanging.destroy();
    await eventually(async () => (await statusOf({ form })) === 200);
    expect(await statusOf({ form })).toBe(429);
  });

  test("a policy with max-requests answers 503 as --max-requests-per-sandbox does", async () => {
    setSandbox({ "max-requests": "2" });
    await send({ form, path: "/hang" });
    const socket = await send({ form, headers: UPGRADE });
    await socket.until((text) => text.includes("\r\n\r\n"));
    await eventually(() => got.length === 2);
    const answer = await ask({ form });
    expect([answer.status, lastCode(form)]).toEqual([503, "too_many_requests_sandbox"]);
    expect(answer.headers).toContainEqual(["retry-after", "1"]);
    socket.destroy();
    await eventually(async () => (await statusOf({ form })) === 200);
  });

  test("a policy with response-timeout answers 504", async () => {
    setSandbox({ "response-timeout": "30s" });
    const connection = await send({ form, path: "/hang" });
    await eventually(() => got.length === 1);
    movedMs += 31_000;
    expect((await connection.readAnswer()).status).toBe(504);
  });

  test("a policy with stream-idle-timeout cuts quiet answers and WebSockets", async () => {
    setSandbox({ "stream-idle-timeout": "30s" });
    const stream = await send({ form, path: KEEP_OPEN });
    await stream.until((text) => text.includes("begin"));
    const socket = await send({ form, headers: UPGRADE });
    await socket.until((text) => text.includes("\r\n\r\n"));
    movedMs += 31_000;
    await stream.closed();
    await socket.until((text) => text.includes("\u0088"));
  });

  test("a policy of a secured sandbox is unknown to who shows no credential", async () => {
    const answersWith = async (annotations: Annotations): Promise<readonly string[]> => {
      setSandbox(annotations, { accessToken: TOKEN });
      const requests: readonly Asked[] = [
        {},
        { port: PORT - 1 },
        { method: "POST", body: "x".repeat(100) },
        { headers: ["Origin: https://evil.example"] },
        { headers: ["OpenSandbox-Secure-Access: wrong"] },
      ];
      const answers: string[] = [];
      for (const request of requests) {
        const { status, headers, body } = await ask({ ...request, form });
        const fields = headers.filter(([name]) => name !== "date" && name !== "x-request-id");
        answers.push(JSON.stringify([status, fields, body]));
      }
      return answers;
    };
    const plain = await answersWith({});
    for (const answer of plain) expect(answer).toStartWith("[401,");
    const strict = {
      "allowed-ports": "1",
      "allowed-methods": "PUT",
      "allowed-origins": "https://a.test",
      "client-cidrs": "192.0.2.1",
      "max-body-size": "1",
      rate: "1/h",
      "max-requests": "1",
    };
    expect(await answersWith(strict)).toEqual(plain);
    expect(await answersWith({ ...strict, "allowed-ports": "?", "allowed-methods": "?" })).toEqual(plain);
    setSandbox({ "allowed-ports": "1" }, { accessToken: TOKEN });
    expect(await statusOf({ form, headers: [`OpenSandbox-Secure-Access: ${TOKEN}`] })).toBe(403);
    // Without a credential nothing counts.
    setSandbox({ rate: "1/h" }, { accessToken: TOKEN });
    expect(await statusOf({ form })).toBe(401);
    expect(await statusOf({ form, headers: [`OpenSandbox-Secure-Access: ${TOKEN}`] })).toBe(200);
  });
});

describe("a policy and the flags", () => {
  const restart = async (config: Partial<ProxyConfig>): Promise<void> => {
    for (const proxy of Object.values(proxies)) await proxy[Symbol.asyncDispose]();
    start(config);
  };

  test.each<[string, Annotations]>([
    ["no annotation", {}],
    [
      "a higher annotation",
      { rate: "1000/m", "max-body-size": "1MiB", "max-requests": "1000", "response-timeout": "1h" },
    ],
    ["an invalid annotation", { rate: "x", "max-body-size": "x", "max-requests": "x", "response-timeout": "x" }],
  ])("a flag holds with %s", async (_, annotations) => {
    await restart({
      maxBodyBytes: 10,
      maxRequestsPerSandbox: 1,
      responseTimeoutMs: 30_000,
      maxRatePerSandbox: parseRate("3/m"),
    });
    setSandbox(annotations);
    expect(await statusOf({ method: "POST", body: "x".repeat(11) })).toBe(413);
    const hanging = await send({ path: "/hang" });
    await eventually(() => got.length === 1);
    expect([await statusOf(), lastCode()]).toEqual([503, "too_many_requests_sandbox"]);
    movedMs += 31_000;
    expect((await hanging.readAnswer()).status).toBe(504);
    // A minute's rate is three; half a minute has given back one and a half.
    const statuses = [];
    for (let at = 0; at < 5; at++) statuses.push(await statusOf());
    expect(statuses.filter((status) => status === 429).length).toBeGreaterThan(0);
    expect(lastCode()).toBe("rate_exceeded");
  });

  test("a policy looks at the Origin before it is rewritten", async () => {
    await restart({ browser: { ...DEFAULT_BROWSER, originHeader: "upstream" } });
    setSandbox({ "allowed-origins": `http://127.0.0.1:${PORT}` });
    expect(await statusOf({ headers: ["Origin: http://h.test"] })).toBe(403);
    setSandbox({ "allowed-origins": "http://h.test" });
    expect(await statusOf({ headers: ["Origin: http://h.test"] })).toBe(200);
  });

  test("a policy takes the peer's address where nobody is trusted", async () => {
    setSandbox({ "client-cidrs": "203.0.113.0/24" });
    expect(await statusOf({ headers: ["X-Forwarded-For: 203.0.113.9"] })).toBe(403);
    setSandbox({ "client-cidrs": "::ffff:127.0.0.0/104" });
    expect(await statusOf()).toBe(200);
  });

  test("a policy refuses several Origins", async () => {
    setSandbox({ "allowed-origins": "https://a.test,https://b.test" });
    expect(await statusOf({ headers: ["Origin: https://a.test", "Origin: https://b.test"] })).toBe(403);
  });

  test("a changed policy applies to the next request and cuts nothing", async () => {
    setSandbox({});
    const stream = await send({ path: KEEP_OPEN });
    await stream.until((text) => text.includes("begin"));
    const socket = await send({ headers: UPGRADE });
    await socket.until((text) => text.includes("\r\n\r\n"));
    setSandbox({ "allowed-ports": "1", "client-cidrs": "?", "stream-idle-timeout": "10s", "max-requests": "1" });
    expect(await statusOf()).toBe(403);
    movedMs += 60_000;
    // A later sweep has looked at both: the one that is cut shows that.
    setSandbox({ "stream-idle-timeout": "10s" });
    const quiet = await send({ path: KEEP_OPEN });
    await quiet.until((text) => text.includes("begin"));
    movedMs += 11_000;
    await quiet.closed();
    expect([stream.isClosed, socket.isClosed]).toEqual([false, false]);
  });
});

describe("a policy and sandboxes that are not ready", () => {
  async function hold(): Promise<void> {
    for (const proxy of Object.values(proxies)) await proxy[Symbol.asyncDispose]();
    start({ hold: { ...DEFAULT_HOLD, holdMs: 600_000 } });
  }
  const held = (): number => proxies.header.server.inspection.waits().held;

  test("a policy refuses before a request waits", async () => {
    await hold();
    setSandbox({ "allowed-ports": "1" }, NOT_READY);
    expect(await statusOf()).toBe(403);
    expect(held()).toBe(0);
  });

  test("a request that waited counts once in rate", async () => {
    await hold();
    setSandbox({ rate: "2/h" }, NOT_READY);
    const waiting = await send({ method: "POST", body: "abc" });
    await eventually(() => held() === 1);
    setSandbox({ rate: "2/h" });
    expect((await waiting.readAnswer()).body).toBe("3 bytes");
    expect([await statusOf(), await statusOf()]).toEqual([200, 429]);
  });

  test("a request that waited meets the policy of the moment, since nothing of it was sent", async () => {
    await hold();
    setSandbox({}, NOT_READY);
    const waiting = await send({ method: "POST", body: "abc" });
    await eventually(() => held() === 1);
    setSandbox({ "allowed-methods": "GET" });
    expect((await waiting.readAnswer()).status).toBe(403);
    expect(got).toEqual([]);
    expect(proxies.header.server.inFlight()).toBe(0);
  });
});
