import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { $ } from "bun";
import { connect as connectTls, type TLSSocket } from "node:tls";
import { WebSocket } from "ws";
import { parseAddressSet } from "../../src/address.ts";
import type { TlsSettings } from "../../src/proxy/tls-settings.ts";
import { eventually } from "../../scripts/lib/eventually.ts";
import { DEFAULT_BROWSER, type ProxyHarness, startProxy } from "../../scripts/lib/stage/proxy-harness.ts";
import { makeClientCertificate } from "../support/client-certificate.ts";
import { tempDir } from "../support/temp-dir.ts";
import { makeTlsAuthority, type TlsAuthority, type TlsPair } from "../support/tls-authority.ts";

setDefaultTimeout(60_000);

const dir = tempDir();
let authority: TlsAuthority;
let first: TlsPair;
let second: TlsPair;
beforeAll(async () => {
  authority = await makeTlsAuthority(dir.path);
  first = await authority.issue("first");
  second = await authority.issue("second", { key: "rsa" });
});
afterAll(() => dir[Symbol.dispose]());

const settingsOf = ({ cert, key }: TlsPair, more: Partial<TlsSettings> = {}): TlsSettings => ({
  cert,
  key,
  clientCa: undefined,
  minVersion: "1.2",
  ...more,
});

type AskOptions = Omit<BunFetchRequestInit, "headers"> & { readonly headers?: Readonly<Record<string, string>> };

/** A proxy with TLS before a sandbox that tells what it gets, waits where it is asked to, and echoes WebSockets. */
async function openStage(config: Parameters<typeof startProxy>[0] = {}, settings = settingsOf(first)) {
  const gate = Promise.withResolvers<void>();
  let waiting = 0;
  const sandbox = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    idleTimeout: 0,
    async fetch(request, server) {
      if (server.upgrade(request)) return undefined;
      const { pathname } = new URL(request.url);
      if (pathname === "/slow") {
        waiting += 1;
        await gate.promise;
      }
      if (pathname === "/large") return new Response(Buffer.alloc(5_000_000, "x"));
      if (pathname === "/moved") {
        return new Response(null, { status: 302, headers: { Location: `http://127.0.0.1:${server.port}/there` } });
      }
      const { size } = await request.blob();
      return Response.json({ ...request.headers.toJSON(), pathname, size });
    },
    websocket: { message: (client, data) => void client.send(data) },
  });
  const proxy: ProxyHarness = startProxy(config);
  proxy.provider.set({ name: "sb" });
  const port = proxy.server.startTls({ host: "127.0.0.1", port: 0 }, settings);
  const route = { "OpenSandbox-Ingress-To": `sb-${sandbox.port}` };
  const dispose = async (): Promise<void> => {
    gate.resolve();
    await proxy[Symbol.asyncDispose]();
    await sandbox.stop(true);
  };
  return {
    proxy,
    port,
    sandbox,
    route,
    waiting: () => waiting,
    release: () => gate.resolve(),
    get: (path: string, { headers = {}, ...init }: AskOptions = {}) =>
      fetch(`https://localhost:${port}${path}`, {
        keepalive: false,
        redirect: "manual",
        tls: { ca: authority.ca },
        ...init,
        headers: { ...route, ...headers },
      }),
    [Symbol.asyncDispose]: dispose,
  };
}

type Stage = Awaited<ReturnType<typeof openStage>>;

/** A connection that shows the server's certificate, on which one can write by hand. */
async function openTls(port: number, options: { readonly ca?: string } = {}) {
  const socket: TLSSocket = connectTls({
    port,
    host: "127.0.0.1",
    servername: "localhost",
    ca: options.ca ?? authority.ca,
  });
  let received = "";
  let isClosed = false;
  socket.on("data", (data: Buffer) => (received += data.toString("latin1")));
  socket.on("close", () => (isClosed = true));
  const opened = Promise.withResolvers<void>();
  socket.once("secureConnect", () => opened.resolve());
  socket.once("error", (error) => opened.reject(error));
  await opened.promise;
  return {
    name: socket.getPeerCertificate().subject.CN,
    write: (text: string) => void socket.write(text),
    received: () => received,
    isClosed: () => isClosed,
    [Symbol.dispose]: () => void socket.destroy(),
  };
}

const nameAt = async (port: number): Promise<string> => {
  using connection = await openTls(port);
  return String(connection.name);
};

/** Both servers accept for a moment: resolves when the earlier one seems to have stopped. */
async function untilRenewed(port: number, name: string): Promise<void> {
  await eventually(async () => {
    for (let asked = 0; asked < 16; asked++) if ((await nameAt(port)) !== name) return false;
    return true;
  });
}

async function openEcho({ port, route }: Stage, agent: Record<string, unknown> = {}) {
  const socket = new WebSocket(`wss://localhost:${port}/`, { headers: route, ca: authority.ca, ...agent });
  await new Promise((resolve, reject) => socket.once("open", resolve).once("error", reject));
  return {
    socket,
    echo: (text: string) =>
      new Promise((resolve) => {
        socket.once("message", (data: Buffer) => resolve(data.toString()));
        socket.send(text);
      }),
  };
}

describe("ProxyServer.startTls", () => {
  test("ProxyServer.startTls serves requests beside the plain port and tells the sandbox https", async () => {
    await using stage = await openStage();
    const { proxy, route } = stage;
    const seen: unknown = await (await stage.get("/a//b?c=d", { headers: { "X-Forwarded-Proto": "http" } })).json();
    expect(seen).toMatchObject({
      pathname: "/a//b",
      "x-forwarded-proto": "https",
      "x-forwarded-host": `localhost:${stage.port}`,
    });
    const plain = await fetch(`http://127.0.0.1:${proxy.port}/`, { headers: route });
    expect(await plain.json()).toMatchObject({ "x-forwarded-proto": "http" });
    expect((await stage.get("/status.ok")).status).toBe(200);
    const body = new Uint8Array(3_000_000);
    expect(await (await stage.get("/", { method: "POST", body })).json()).toMatchObject({ size: body.length });
    expect((await (await stage.get("/large")).bytes()).length).toBe(5_000_000);
    await eventually(() => proxy.server.inFlight() === 0);
    expect(proxy.accessLog.every(({ clientAddress }) => clientAddress === "127.0.0.1")).toBe(true);
    expect(proxy.server.counters()).toMatchObject({ heldBytes: 0 });
  });

  test("ProxyServer.startTls answers HTTP/1.0 without Host with https, too", async () => {
    await using stage = await openStage();
    using connection = await openTls(stage.port);
    connection.write(`GET /x HTTP/1.0\r\nOpenSandbox-Ingress-To: sb-${stage.sandbox.port}\r\n\r\n`);
    await eventually(() => connection.received().includes('"x-forwarded-proto":"https"'));
  });

  test("ProxyServer.startTls serves curl and openssl, ECDSA, RSA, and a chain", async () => {
    const chained = await authority.issueByIntermediate("chained");
    for (const pair of [first, second, chained]) {
      await using stage = await openStage({}, settingsOf(pair));
      const { port } = stage;
      const answer = await $`curl -sS --cacert ${authority.caFile} https://localhost:${port}/status.ok`.text();
      expect(answer).toBe("OK");
      const shown =
        await $`openssl s_client -connect 127.0.0.1:${port} -CAfile ${authority.caFile} -verify_return_error < /dev/null`
          .quiet()
          .text();
      expect(shown).toContain("Verify return code: 0 (ok)");
    }
  });

  test.each([
    ["1.2", { tls1_1: false, tls1_2: true, tls1_3: true }],
    ["1.3", { tls1_1: false, tls1_2: false, tls1_3: true }],
  ] as const)("ProxyServer.startTls speaks TLS from %s on", async (minVersion, expected) => {
    await using stage = await openStage({}, settingsOf(first, { minVersion }));
    for (const [version, works] of Object.entries(expected)) {
      const { exitCode } =
        await $`openssl s_client -${version} -cipher DEFAULT@SECLEVEL=0 -connect 127.0.0.1:${stage.port} < /dev/null`
          .quiet()
          .nothrow();
      expect([version, exitCode === 0]).toEqual([version, works]);
    }
  });

  test("ProxyServer.startTls speaks with TLS 1.2 only what keeps recorded traffic secret", async () => {
    const ciphers: readonly (readonly [string, boolean])[] = [
      ...["AES128-SHA", "AES128-GCM-SHA256", "AES256-GCM-SHA384"].map((name) => [name, false] as const),
      ...["AES128-SHA", "AES256-SHA"].map((name) => [`ECDHE-*-${name}`, false] as const),
      ...["AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305"].map(
        (name) => [`ECDHE-*-${name}`, true] as const,
      ),
    ];
    for (const [kind, pair] of [["ECDSA", first] as const, ["RSA", second] as const]) {
      await using stage = await openStage({}, settingsOf(pair));
      for (const [cipher, works] of ciphers) {
        const name = cipher.replace("*", kind);
        const { exitCode } =
          await $`openssl s_client -tls1_2 -cipher ${name}@SECLEVEL=0 -connect 127.0.0.1:${stage.port} < /dev/null`
            .quiet()
            .nothrow();
        expect([kind, name, exitCode === 0]).toEqual([kind, name, works]);
      }
    }
  });

  test("ProxyServer.startTls turns the sandbox's redirects to https, unless a trusted proxy tells http", async () => {
    await using direct = await openStage();
    expect((await direct.get("/moved")).headers.get("location")).toBe(`https://localhost:${direct.port}/there`);
    await using behind = await openStage({ trustedProxies: parseAddressSet("127.0.0.1") });
    const told = { headers: { "X-Forwarded-Proto": "http" } };
    expect((await behind.get("/moved", told)).headers.get("location")).toBe(`http://localhost:${behind.port}/there`);
    expect((await behind.get("/moved")).headers.get("location")).toBe(`https://localhost:${behind.port}/there`);
  });

  test("ProxyServer.startTls recovers lost paths of pages and answers CORS", async () => {
    const browser = { ...DEFAULT_BROWSER, corsOrigins: ["https://app.example.com"] };
    await using stage = await openStage({ mode: "uri", browser });
    const page = `https://localhost:${stage.port}/sb/${stage.sandbox.port}/page`;
    const lost = await stage.get("/app.js", { headers: { Referer: page, "Sec-Fetch-Site": "same-origin" } });
    expect([lost.status, lost.headers.get("location")]).toEqual([307, `/sb/${stage.sandbox.port}/app.js`]);
    const origin = { Origin: "https://app.example.com" };
    const shared = await stage.get(`/sb/${stage.sandbox.port}/`, { headers: origin });
    expect(shared.headers.get("access-control-allow-origin")).toBe(origin.Origin);
  });

  test("ProxyServer.startTls opens WebSockets", async () => {
    await using stage = await openStage();
    const { echo, socket } = await openEcho(stage);
    expect(await echo("hello")).toBe("hello");
    expect(await echo("x".repeat(1_000_000))).toHaveLength(1_000_000);
    socket.close();
    await eventually(() => stage.proxy.server.counters().tunnels === 0);
  });

  test("ProxyServer.startTls asks for a client certificate that the authority has signed", async () => {
    const client = await makeClientCertificate(dir.path, "/CN=somebody");
    const clientCa = await Bun.file(client.caFile).text();
    await using stage = await openStage({}, settingsOf(first, { clientCa }));
    const tls = {
      ca: authority.ca,
      cert: await Bun.file(client.certFile).text(),
      key: await Bun.file(client.keyFile).text(),
    };
    expect((await stage.get("/", { tls })).status).toBe(200);
    for (const wrong of [{}, { cert: second.cert, key: second.key }]) {
      const refused = await stage.get("/", { tls: { ca: authority.ca, ...wrong } }).catch(() => "refused");
      expect(refused).toBe("refused");
    }
    const { echo, socket } = await openEcho(stage, tls);
    expect(await echo("a")).toBe("a");
    socket.close();
    expect(openEcho(stage)).rejects.toThrow();
  });

  test("ProxyServer.startTls throws for a pair that does not fit, and for a port that is taken, by TLS too", async () => {
    await using stage = await openStage();
    await using other = startProxy();
    const place = { host: "127.0.0.1", port: stage.port };
    expect(() => other.server.startTls(place, settingsOf(first))).toThrow();
    expect(() => other.server.startTls({ ...place, port: 0 }, { ...settingsOf(first), key: second.key })).toThrow();
  });
});

describe("ProxyServer.renewTls", () => {
  test("ProxyServer.renewTls under load costs no client more than one connection for each change", async () => {
    await using stage = await openStage();
    const [clients, swaps] = [4, 6];
    const over = new AbortController();
    const ask = async (): Promise<{ answered: number; lost: number }> => {
      const counts = { answered: 0, lost: 0 };
      while (!over.signal.aborted) {
        try {
          const answer = await stage.get("/", { method: "POST", body: "x" });
          expect(await answer.json()).toMatchObject({ size: 1 });
          counts.answered += 1;
        } catch (thrown) {
          expect(thrown).toMatchObject({ code: "ECONNRESET" });
          counts.lost += 1;
        }
      }
      return counts;
    };
    const asking = Array.from({ length: clients }, ask);
    for (let swap = 0; swap < swaps; swap++) {
      const inUse = swap % 2 === 0 ? second : first;
      stage.proxy.server.renewTls(settingsOf(inUse));
      const before = stage.proxy.accessLog.length;
      await eventually(() => stage.proxy.accessLog.length > before + 20);
      await untilRenewed(stage.port, inUse === first ? "first" : "second");
    }
    over.abort();
    for (const { answered, lost } of await Promise.all(asking)) {
      expect(answered).toBeGreaterThan(swaps);
      expect(lost).toBeLessThanOrEqual(swaps);
    }
    // The sandbox got each request once.
    expect(stage.proxy.accessLog.every(({ status }) => status === 200)).toBe(true);
  });

  test("ProxyServer.renewTls leaves the memory and idle times of requests of earlier servers as they were", async () => {
    await using stage = await openStage({ clientIdleTimeoutMs: 1_000 });
    const { port, proxy } = stage;
    const head = (rest: string): string =>
      `POST /large HTTP/1.1\r\nHost: localhost\r\nOpenSandbox-Ingress-To: sb-${stage.sandbox.port}\r\n${rest}\r\n\r\n`;
    using silent = await openTls(port);
    silent.write(`${head("Content-Length: 10")}abc`);
    await eventually(() => proxy.server.inFlight() === 1);
    proxy.server.renewTls(settingsOf(second));
    await eventually(() => silent.received().includes(" 408 "));
    await eventually(() => proxy.server.counters().heldBytes === 0);
    await eventually(() => silent.isClosed());
  });

  test("ProxyServer.renewTls gives new connections the new pair and lets requests and tunnels go on", async () => {
    await using stage = await openStage();
    const { port, proxy, route } = stage;
    const lines = (path: string): string =>
      `GET ${path} HTTP/1.1\r\nHost: localhost\r\nOpenSandbox-Ingress-To: ${route["OpenSandbox-Ingress-To"]}\r\n\r\n`;
    using idle = await openTls(port);
    idle.write(lines("/"));
    await eventually(() => idle.received().includes("200 OK"));
    using slow = await openTls(port);
    slow.write(lines("/slow"));
    const { echo, socket } = await openEcho(stage);
    await eventually(() => stage.waiting() === 1);

    proxy.server.renewTls(settingsOf(second));
    await untilRenewed(port, "second");
    await eventually(() => idle.isClosed());
    for (let asked = 0; asked < 20; asked++) expect(await nameAt(port)).toBe("second");
    expect(await echo("still")).toBe("still");
    stage.release();
    await eventually(() => slow.received().includes('"pathname":"/slow"'));
    // The client must not send its next request on this connection.
    expect(slow.received().toLowerCase()).toContain("connection: close");
    await eventually(() => proxy.server.inFlight() === 1);
    socket.close();
    await eventually(() => proxy.server.inFlight() === 0);
  });

  test("ProxyServer.renewTls keeps the earlier pair where the new one cannot be used", async () => {
    await using stage = await openStage();
    expect(() => stage.proxy.server.renewTls({ ...settingsOf(second), key: first.key })).toThrow();
    expect(await nameAt(stage.port)).toBe("first");
    stage.proxy.server.relieve("exhausted");
    stage.proxy.server.relieve("none");
    expect(await nameAt(stage.port)).toBe("first");
  });

  test("ProxyServer.renewTls during a shortage of descriptors counts when connections are accepted again", async () => {
    await using stage = await openStage();
    const { server } = stage.proxy;
    server.relieve("exhausted");
    expect(nameAt(stage.port)).rejects.toThrow();
    server.renewTls(settingsOf(second));
    expect(nameAt(stage.port)).rejects.toThrow();
    server.relieve("none");
    expect(await nameAt(stage.port)).toBe("second");
  });

  test("ProxyServer.relieve opens the port with TLS again, though somebody has taken the plain one", async () => {
    await using stage = await openStage();
    const { server, port } = stage.proxy;
    server.relieve("exhausted");
    await eventually(() =>
      fetch(`http://127.0.0.1:${port}/`)
        .then(() => false)
        .catch(() => true),
    );
    const thief = Bun.serve({ hostname: "127.0.0.1", port, fetch: () => new Response("thief") });
    expect(() => server.relieve("none")).toThrow("in use");
    expect(await nameAt(stage.port)).toBe("first");
    await thief.stop(true);
    server.relieve("none");
    expect((await fetch(`http://127.0.0.1:${port}/status.ok`)).status).toBe(200);
  });

  test("ProxyServer.renewTls bounds the earlier servers: the tunnels of the oldest end", async () => {
    await using stage = await openStage();
    const tunnels: Awaited<ReturnType<typeof openEcho>>[] = [];
    for (let swaps = 0; swaps < 17; swaps++) {
      tunnels.push(await openEcho(stage));
      stage.proxy.server.renewTls(settingsOf(swaps % 2 === 0 ? second : first));
      await untilRenewed(stage.port, swaps % 2 === 0 ? "second" : "first");
    }
    const [oldest, next] = tunnels;
    await eventually(() => oldest?.socket.readyState === WebSocket.CLOSED);
    expect(await next?.echo("on")).toBe("on");
    for (const { socket } of tunnels) socket.terminate();
    await eventually(() => stage.proxy.server.inFlight() === 0);
  });

  test("ProxyServer.drain ends both ports and all servers", async () => {
    await using stage = await openStage();
    const before = await openEcho(stage);
    stage.proxy.server.renewTls(settingsOf(second));
    await untilRenewed(stage.port, "second");
    const after = await openEcho(stage);
    const codes = [before, after].map(({ socket }) => new Promise((resolve) => socket.once("close", resolve)));
    await stage.proxy.server.drain(2_000);
    expect(await Promise.all(codes)).toEqual([1001, 1001]);
    expect(nameAt(stage.port)).rejects.toThrow();
  });
});
