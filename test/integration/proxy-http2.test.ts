import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { $ } from "bun";
import {
  connect,
  type ClientHttp2Session,
  type IncomingHttpHeaders,
  type SecureClientSessionOptions,
} from "node:http2";
import { WebSocket } from "ws";
import { eventually } from "../../scripts/lib/eventually.ts";
import { type ProxyHarness, startProxy } from "../../scripts/lib/stage/proxy-harness.ts";
import { tempDir } from "../support/temp-dir.ts";
import { makeTlsAuthority, type TlsAuthority } from "../support/tls-authority.ts";

setDefaultTimeout(60_000);

const LARGE_BYTES = 5_000_000;
/** RFC 9113 §7. */
const CANCEL = 8;

/** A sandbox that speaks HTTP/1.1, as all do. */
function startSandbox() {
  let aborted = 0;
  let push = (): void => {};
  const server = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    idleTimeout: 0,
    async fetch(request, bun) {
      if (bun.upgrade(request)) return undefined;
      const { pathname } = new URL(request.url);
      if (pathname === "/hang") {
        await new Promise((resolve) => request.signal.addEventListener("abort", resolve));
        aborted += 1;
      }
      if (pathname === "/large") return new Response(Buffer.alloc(LARGE_BYTES, "x"));
      if (pathname === "/stream") {
        const pushed = new Promise<void>((resolve) => (push = resolve));
        const body = async function* () {
          yield "first\n";
          await pushed;
          yield "second\n";
        };
        return new Response(body());
      }
      const { size } = await request.blob();
      const headers = { "Keep-Alive": "timeout=5", "Proxy-Connection": "close", "X-Kept": "yes" };
      return Response.json({ ...request.headers.toJSON(), method: request.method, size }, { headers });
    },
    websocket: { message: (client, data) => void client.send(data) },
  });
  return { port: server.port ?? 0, aborted: () => aborted, push: () => push(), stop: () => server.stop(true) };
}

let sandbox: ReturnType<typeof startSandbox>;
let proxy: ProxyHarness;
let authority: TlsAuthority;
let tlsPort = 0;
const dir = tempDir();
const sessions: ClientHttp2Session[] = [];

beforeAll(async () => {
  sandbox = startSandbox();
  proxy = startProxy({ http2: true, maxRequestsPerSandbox: 50 });
  for (const name of ["sb", "other"]) proxy.provider.set({ name });
  authority = await makeTlsAuthority(dir.path);
  const { cert, key } = await authority.issue("h2");
  const settings = { cert, key, clientCa: undefined, minVersion: "1.2" } as const;
  tlsPort = proxy.server.startTls({ host: "127.0.0.1", port: 0 }, settings);
});

afterAll(async () => {
  for (const session of sessions) session.destroy();
  await proxy[Symbol.asyncDispose]();
  await sandbox.stop();
  dir[Symbol.dispose]();
});

function open(origin = `http://127.0.0.1:${proxy.port}`, options: SecureClientSessionOptions = {}): ClientHttp2Session {
  const session = connect(origin, options);
  session.on("error", () => {});
  sessions.push(session);
  return session;
}

interface AskOptions {
  readonly method?: string;
  readonly sandbox?: string;
  readonly headers?: Readonly<Record<string, string | string[]>>;
  /** Undefined: the head ends the request. */
  readonly body?: Uint8Array | string;
}

function ask(session: ClientHttp2Session, path: string, options: AskOptions = {}) {
  const { method = "GET", sandbox: name = "sb", headers = {}, body } = options;
  const head = { ":path": path, ":method": method, "opensandbox-ingress-to": `${name}-${sandbox.port}`, ...headers };
  const stream = session.request(head, { endStream: body === undefined });
  let got: IncomingHttpHeaders = {};
  let text = "";
  let fault = "";
  stream.on("response", (answered) => (got = answered));
  stream.on("data", (data: Buffer) => (text += data.toString("latin1")));
  stream.on("error", (error: Error) => (fault = error.message));
  const status = (): number => Number(got[":status"] ?? 0);
  const done = new Promise<{ status: number; headers: IncomingHttpHeaders; text: string; fault: string }>((resolve) =>
    stream.on("close", () => resolve({ status: status(), headers: got, text, fault })),
  );
  if (body !== undefined) stream.end(body);
  return { stream, done, status, text: () => text };
}

const isIdle = (): Promise<boolean> =>
  eventually(() => proxy.server.inFlight() === 0 && proxy.server.counters().heldBytes === 0);

test("--http2 serves many sandboxes on one connection, and names the authority as the host", async () => {
  const session = open();
  const headers = { cookie: ["a=1", "b=2"], "x-forwarded-proto": "https", te: "trailers" };
  const answer = await ask(session, "/a//b?c", { headers }).done;
  expect(answer.status).toBe(200);
  expect(answer.headers).toMatchObject({ "x-kept": "yes" });
  for (const name of ["connection", "keep-alive", "proxy-connection", "transfer-encoding"]) {
    expect(answer.headers[name]).toBeUndefined();
  }
  const seen: unknown = JSON.parse(answer.text);
  expect(seen).toMatchObject({
    cookie: "a=1; b=2",
    "x-forwarded-proto": "http",
    "x-forwarded-host": `127.0.0.1:${proxy.port}`,
    "x-forwarded-for": "127.0.0.1",
  });
  const all = ["sb", "other", "none"].map((name) => ask(session, "/", { sandbox: name }).done);
  expect((await Promise.all(all)).map(({ status }) => status)).toEqual([200, 200, 404]);
  await isIdle();
});

test("--http2 passes bodies on, whether or not a length announces them, and each small or large", async () => {
  const session = open();
  for (const size of [0, 3, LARGE_BYTES]) {
    for (const method of ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"]) {
      const body = Buffer.alloc(size);
      for (const headers of [{}, { "content-length": String(size) }]) {
        const answer = await ask(session, "/", { method, body, headers }).done;
        expect(JSON.parse(answer.text)).toMatchObject({ method, size });
      }
    }
  }
  expect(JSON.parse((await ask(session, "/", { method: "POST" }).done).text)).toMatchObject({ size: 0 });
  const refused = await ask(session, "/", { body: "abc", headers: { "content-length": "3" } }).done;
  expect(refused.status).toBe(400);
  await isIdle();
});

test("--http2 tells the length of an answer to HEAD if the sandbox does, and none otherwise", async () => {
  const session = open();
  const known = await ask(session, "/large", { method: "HEAD" }).done;
  expect([known.status, known.headers["content-length"]]).toEqual([200, String(LARGE_BYTES)]);
  const unknown = await ask(session, "/stream", { method: "HEAD" }).done;
  expect([unknown.status, unknown.headers["content-length"], unknown.fault]).toEqual([200, undefined, ""]);
  await isIdle();
});

test("--http2 streams both ways, and answers other streams while one is not read", async () => {
  const session = open();
  const stream = ask(session, "/stream");
  await eventually(() => stream.text() === "first\n");
  sandbox.push();
  expect((await stream.done).text).toBe("first\nsecond\n");
  const unread = Array.from({ length: 20 }, () => {
    const asked = ask(session, "/large");
    asked.stream.pause();
    return asked;
  });
  await eventually(() => unread.every(({ status }) => status() === 200));
  // The account has what the client does not read.
  await eventually(() => proxy.server.counters().heldBytes > LARGE_BYTES);
  expect((await ask(session, "/").done).status).toBe(200);
  for (const { stream: paused } of unread) paused.resume();
  for (const { done } of unread) expect((await done).text.length).toBe(LARGE_BYTES);
  await isIdle();
});

test("--http2 limits streams as requests, and ends those whose client resets them or leaves", async () => {
  const session = open();
  const before = sandbox.aborted();
  const hangs = Array.from({ length: 60 }, () => ask(session, "/hang"));
  await eventually(() => hangs.filter(({ status }) => status() === 503).length === 10);
  expect(proxy.server.inFlight()).toBe(50);
  for (const { stream } of hangs.slice(0, 20)) stream.close(CANCEL);
  await eventually(() => proxy.server.inFlight() === 30);
  await eventually(() => sandbox.aborted() - before === 20);
  session.destroy();
  await isIdle();
  await eventually(() => sandbox.aborted() - before === 50);
});

test("--http2 ends a connection that resets one request after the other, and others go on", async () => {
  const session = open();
  const beside = open();
  let isOver = false;
  session.on("close", () => (isOver = true));
  await eventually(async () => {
    if (isOver) return true;
    for (let count = 0; count < 100 && !session.destroyed && !session.closed; count++) {
      ask(session, "/hang").stream.close(CANCEL);
    }
    expect((await ask(beside, "/").done).status).toBe(200);
    return isOver;
  });
  await isIdle();
});

test("--http2 refuses an upload without reading it whole, and the connection goes on", async () => {
  const session = open();
  const refused = ask(session, "/", { method: "POST", sandbox: "none", body: Buffer.alloc(20_000_000) });
  expect((await refused.done).status).toBe(404);
  expect((await ask(session, "/").done).status).toBe(200);
  await isIdle();
});

test("--http2 with TLS is chosen by ALPN; WebSockets come over HTTP/1.1 on the same port", async () => {
  const session = open(`https://localhost:${tlsPort}`, { ca: authority.ca });
  const answer = await ask(session, "/").done;
  expect(JSON.parse(answer.text)).toMatchObject({ "x-forwarded-proto": "https" });
  const version =
    await $`curl -sS -o /dev/null -w %{http_version} --cacert ${authority.caFile} https://localhost:${tlsPort}/status.ok`.text();
  expect(version).toBe("2");
  const headers = { "OpenSandbox-Ingress-To": `sb-${sandbox.port}` };
  const socket = new WebSocket(`wss://localhost:${tlsPort}/`, { headers, ca: authority.ca });
  await new Promise((resolve, reject) => socket.once("open", resolve).once("error", reject));
  const echoed = new Promise((resolve) => socket.once("message", (data: Buffer) => resolve(data.toString())));
  socket.send("hello");
  expect(await echoed).toBe("hello");
  socket.close();
  await isIdle();
});

test("--http2 drains: streams may end, the client hears GOAWAY, idle connections close", async () => {
  const draining = startProxy({ http2: true }, { provider: proxy.provider });
  const [busy, idle] = [open(`http://127.0.0.1:${draining.port}`), open(`http://127.0.0.1:${draining.port}`)];
  const closed = [busy, idle].map((session) => new Promise((resolve) => session.once("close", resolve)));
  const told = new Promise((resolve) => busy.once("goaway", resolve));
  await ask(idle, "/").done;
  const stream = ask(busy, "/stream");
  await eventually(() => stream.text() === "first\n");
  const drained = draining.server.drain(20_000);
  expect(await told).toBe(0);
  await closed[1];
  sandbox.push();
  expect((await stream.done).text).toBe("first\nsecond\n");
  await drained;
  await closed[0];
});

test("--http2 is off by default", async () => {
  await using plain = startProxy({}, { provider: proxy.provider });
  const session = connect(`http://127.0.0.1:${plain.port}`);
  const fault = new Promise((resolve) => session.once("error", resolve).once("close", resolve));
  session.request({ ":path": "/status.ok" }).on("error", () => {});
  await fault;
  expect(session.destroyed).toBe(true);
});
