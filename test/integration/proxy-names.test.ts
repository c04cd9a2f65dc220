import { describe, expect, test } from "bun:test";

import { eventually } from "../../scripts/lib/eventually.ts";
import { endpointRules } from "../../scripts/lib/stage/endpoint-rules.ts";
import { type ProxyHarness, startProxy } from "../../scripts/lib/stage/proxy-harness.ts";
import { openRaw, type RawConnection, rawRequest } from "../../scripts/lib/stage/raw-client.ts";
import { acceptKey, OPCODE, openRawWebSocket, parseClose } from "../../scripts/lib/stage/raw-websocket.ts";
import { agentSandbox } from "../../scripts/lib/stage/sandbox-objects.ts";
import type { Clock } from "../../src/clock.ts";
import { createDnsLookup } from "../../src/proxy/upstream/dns-lookup.ts";
import { projectAgentSandbox } from "../../src/sandbox/projection/agent-sandbox.ts";
import type { EndpointRulesOptions } from "../../src/sandbox/projection/endpoint-rules.ts";
import { type DnsRecords, type DnsServer, buildDnsAnswer, startDnsServer } from "../support/dns-server.ts";
import { createHurriedClock } from "../support/hurried-clock.ts";
import { type Answerer, headerOf, type RawUpstream, startRawUpstream } from "../support/raw-upstream.ts";

const OLD = "127.0.0.2";
const NEW = "127.0.0.3";
/** How much faster the proxy's clock runs than the machine's. */
const HURRY = 5;

/** Its text tells which server it is. It streams, waits and upgrades as the path says. */
function answerAs(address: string): Answerer {
  return (socket, request) => {
    const path = request.line.split(" ")[1] ?? "";
    if (path.startsWith("/hold")) return;
    if (path.startsWith("/stream")) {
      return void socket.write(
        "HTTP/1.1 200 OK\r\nContent-Type: t/x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nbegin\r\n",
      );
    }
    const key = headerOf(request, "sec-websocket-key");
    if (key === undefined) {
      return void socket.write(
        `HTTP/1.1 200 OK\r\nContent-Type: t/x\r\nContent-Length: ${address.length}\r\n\r\n${address}`,
      );
    }
    socket.removeAllListeners("data");
    socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${acceptKey(key)}\r\n\r\n`,
    );
  };
}

interface Stage extends AsyncDisposable {
  readonly dns: DnsServer;
  readonly proxy: ProxyHarness;
  readonly old: RawUpstream;
  readonly fresh: RawUpstream;
  /** The header line that leads to a sandbox. */
  to(name?: string): string;
  /** Publishes a Sandbox whose Service has its name. */
  publish(name: string, namespace?: string): void;
  send(connection: RawConnection, request: string, name?: string): void;
}

interface StageOptions {
  readonly rules?: Partial<EndpointRulesOptions>;
  readonly clock?: Clock;
  readonly connectTimeoutMs?: number;
}

const MANY_ADDRESSES = Array.from({ length: 4_000 }, (_, i) => `10.9.${i >> 8}.${i & 255}`);
/** The head and the records, 64 KB, of an answer with thousands of addresses. The question is between them. */
const HUGE_ANSWER = buildDnsAnswer(Buffer.alloc(12), { found: MANY_ADDRESSES, isIpv6: false });

const fqdnOf = (name: string, namespace = "ns") => `${name}.${namespace}.svc.cluster.local`;

/** A proxy whose sandboxes are names of a DNS server, with one server at the old address and one at the new. */
async function startStage(names: Readonly<Record<string, DnsRecords>>, options: StageOptions = {}): Promise<Stage> {
  const { clock = createHurriedClock(HURRY), connectTimeoutMs = 60_000 } = options;
  const stack = new AsyncDisposableStack();
  const dns = stack.use(await startDnsServer(names));
  const old = stack.use(await startRawUpstream(answerAs(OLD), { host: OLD }));
  const fresh = stack.use(await startRawUpstream(answerAs(NEW), { host: NEW, port: old.port }));
  const rules = endpointRules({ allowLoopback: true, ...options.rules });
  const lookup = createDnsLookup({ clusterDomain: "cluster.local", servers: [dns.address] });
  const proxy = stack.use(
    startProxy(
      { connectTimeoutMs },
      { clock, names: { lookup, judge: rules.judge, logger: { error: (message) => expect.unreachable(message) } } },
    ),
  );
  const to = (name = "sb") => `OpenSandbox-Ingress-To: ${name}-${old.port}`;
  const publish = (name: string, namespace = "ns") => {
    const status = { serviceFQDN: fqdnOf(name, namespace), conditions: [{ type: "Ready", status: "True" }] };
    const object = agentSandbox(status, { name, namespace, uid: `uid-${namespace}-${name}` });
    const { record } = projectAgentSandbox(object, { endpoints: rules });
    if (record === undefined) throw new Error("no record");
    proxy.provider.set(record);
  };
  publish("sb");
  return {
    dns,
    proxy,
    old,
    fresh,
    to,
    publish,
    send: (connection, request, name) =>
      connection.write(request.replace("\r\n", ` HTTP/1.1\r\nHost: client.test\r\n${to(name)}\r\n`)),
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

/** How often the IPv4 addresses of a name have been looked up. */
const countAsked = (dns: DnsServer, name = fqdnOf("sb")) =>
  dns.asked.filter((question) => question === `${name}/A`).length;

/** Everything open to the sandbox at its old address: a waiting GET and POST, a stream, and a WebSocket. */
async function openAll(stage: Stage) {
  const get = await openRaw(stage.proxy.port);
  stage.send(get, "GET /hold\r\n\r\n");
  const post = await openRaw(stage.proxy.port);
  stage.send(post, "POST /hold\r\nContent-Length: 2\r\n\r\nhi");
  const stream = await openRaw(stage.proxy.port);
  stage.send(stream, "GET /stream\r\n\r\n");
  const socket = await openRawWebSocket(stage.proxy.port, "/", { extra: `${stage.to()}\r\n` });
  expect(socket.status).toBe(101);
  await stream.until((text) => text.includes("begin"));
  await eventually(() => stage.old.requests.length === 4);
  return { get, post, stream, socket };
}

/** How each of them ends. */
async function endingsOf(opened: Awaited<ReturnType<typeof openAll>>) {
  const { get, post, stream, socket } = opened;
  const answers = await Promise.all([get.readAnswer(), post.readAnswer()]);
  const last = await stream.closed();
  const frame = await socket.frames.next();
  for (const connection of [get, post]) connection.destroy();
  socket.socket.destroy();
  return {
    answers: answers.map(({ status, body }) => [status, body]),
    isCut: !last.includes("\r\n0\r\n"),
    close: frame?.opcode === OPCODE.close ? parseClose(frame.payload) : frame,
  };
}

describe("a sandbox with a name", () => {
  test("the proxy dials the address of a name, with the name as Host", async () => {
    await using stage = await startStage({ [fqdnOf("sb")]: { ipv4: [OLD] } });
    for (const method of ["GET", "POST"]) {
      const connection = await openRaw(stage.proxy.port);
      stage.send(connection, `${method} /\r\nContent-Length: 0\r\n\r\n`);
      expect(await connection.readAnswer()).toMatchObject({ status: 200, body: OLD });
      connection.destroy();
    }
    const socket = await openRawWebSocket(stage.proxy.port, "/", { extra: `${stage.to()}\r\n` });
    expect(socket.status).toBe(101);
    socket.socket.destroy();
    expect(stage.old.requests.map((request) => headerOf(request, "host"))).toEqual(
      Array.from({ length: 3 }, () => `${fqdnOf("sb")}:${stage.old.port}`),
    );
    expect(countAsked(stage.dns)).toBe(1);
  });

  test.each<[string, DnsRecords]>([
    ["loopback", { ipv4: ["127.0.0.1"] }],
    ["loopback, IPv6", { ipv6: ["0:0:0:0:0:0:0:1"] }],
    ["loopback, mapped into IPv6", { ipv6: ["0:0:0:0:0:ffff:7f00:1"] }],
    ["any address", { ipv4: ["0.0.0.0"] }],
    ["the metadata server", { ipv4: ["169.254.169.254"] }],
    ["the metadata server of Alibaba Cloud", { ipv4: ["100.100.100.200"] }],
    ["the metadata server through NAT64", { ipv6: ["64:ff9b:0:0:0:0:a9fe:a9fe"] }],
    ["the API server", { ipv4: ["10.96.0.1"] }],
    ["the node", { ipv4: ["192.0.2.10"] }],
    ["what is outside --endpoint-ranges", { ipv4: ["8.8.8.8"] }],
  ])("the proxy never dials a name that leads to %s, and does not tell the address", async (_what, records) => {
    await using stage = await startStage(
      { [fqdnOf("sb")]: records },
      {
        rules: {
          allowLoopback: false,
          environment: { KUBERNETES_SERVICE_HOST: "10.96.0.1", HOST_IP: "192.0.2.10" },
          ranges: { has: (address) => address !== "8.8.8.8" },
        },
      },
    );
    await using local = await startRawUpstream(answerAs("loopback"), { host: "127.0.0.1", port: stage.old.port });
    const head = `Host: client.test\r\n${stage.to()}\r\n`;
    const plain = await rawRequest(stage.proxy.port, `GET / HTTP/1.1\r\n${head}\r\n`);
    expect([plain.status, plain.body]).toEqual([
      503,
      "OpenSandbox Ingress: sandbox not ready: sandbox has no usable endpoint\n",
    ]);
    const socket = await openRawWebSocket(stage.proxy.port, "/", { extra: `${stage.to()}\r\n` });
    expect(socket.status).toBe(503);
    socket.socket.destroy();
    expect(local.connections + stage.old.connections).toBe(0);
  });

  test("an answer without the address in use ends everything open, as a new generation does", async () => {
    await using byName = await startStage({ [fqdnOf("sb")]: { ipv4: [OLD] } });
    const opened = await openAll(byName);
    const askedBefore = countAsked(byName.dns);
    byName.dns.names.set(fqdnOf("sb"), { ipv4: [NEW] });
    const endings = await endingsOf(opened);
    // Another test checks the interval of look-ups with a stopped clock. Here it took at most two of them.
    expect(countAsked(byName.dns) - askedBefore).toBeWithin(1, 3);
    await eventually(() => byName.old.open.size === 0 && byName.proxy.server.inFlight() === 0);
    const next = await rawRequest(byName.proxy.port, `GET / HTTP/1.1\r\nHost: x\r\n${byName.to()}\r\n\r\n`);
    expect([next.status, next.body]).toEqual([200, NEW]);

    await using byGeneration = await startStage({ [fqdnOf("sb")]: { ipv4: [OLD] } });
    const others = await openAll(byGeneration);
    byGeneration.proxy.provider.set({ name: "sb", uid: "uid-ns-sb", namespace: "ns", endpoint: NEW });
    expect(endings).toEqual(await endingsOf(others));
    expect(endings.answers[0]?.[0]).toBe(502);
    expect(endings.isCut).toBe(true);
  });

  test("an address that must not be dialled any more ends everything open", async () => {
    const own = new Set<string>();
    await using stage = await startStage({ [fqdnOf("sb")]: { ipv4: [OLD] } }, { rules: { ownAddresses: () => own } });
    const opened = await openAll(stage);
    own.add(OLD);
    expect((await endingsOf(opened)).answers.map(([status]) => status)).toEqual([502, 502]);
  });

  test.each<[string, DnsRecords | undefined]>([
    ["NXDOMAIN", undefined],
    ["an empty answer", {}],
    ["SERVFAIL", { ipv4: "fail", ipv6: "fail" }],
    ["silence", { ipv4: "silent", ipv6: "silent" }],
    ["a failure of the family in use, with an address of the other", { ipv4: "fail", ipv6: ["fd00:0:0:0:0:0:0:7"] }],
    ["4,000 other addresses", { ipv4: MANY_ADDRESSES }],
  ])("%s ends nothing, and requests go on to the address in use", async (_what, records) => {
    await using stage = await startStage({ [fqdnOf("sb")]: { ipv4: [OLD] } });
    const { get, post, stream, socket } = await openAll(stage);
    const askedBefore = countAsked(stage.dns);
    if (records === undefined) stage.dns.names.delete(fqdnOf("sb"));
    else stage.dns.names.set(fqdnOf("sb"), records);
    await eventually(() => countAsked(stage.dns) >= askedBefore + 3);
    const next = await rawRequest(stage.proxy.port, `GET / HTTP/1.1\r\nHost: x\r\n${stage.to()}\r\n\r\n`);
    expect([next.status, next.body]).toEqual([200, OLD]);
    for (const end of stage.old.open) end.destroy();
    expect([(await get.readAnswer()).status, (await post.readAnswer()).status]).toEqual([502, 502]);
    expect(await stream.closed()).not.toContain("\r\n0\r\n");
    expect(stage.proxy.accessLog.map(({ code }) => code)).not.toContain("sandbox_replaced");
    socket.socket.destroy();
    for (const connection of [get, post]) connection.destroy();
  });

  test("WebSockets wait for a name that does not resolve yet, like requests", async () => {
    await using stage = await startStage({});
    const get = await openRaw(stage.proxy.port);
    stage.send(get, "GET /\r\n\r\n");
    const socket = openRawWebSocket(stage.proxy.port, "/", { extra: `${stage.to()}\r\n` });
    await eventually(() => countAsked(stage.dns) >= 2 && stage.proxy.server.inFlight() === 2);
    stage.dns.names.set(fqdnOf("sb"), { ipv4: [OLD] });
    expect(await get.readAnswer()).toMatchObject({ status: 200, body: OLD });
    const opened = await socket;
    expect(opened.status).toBe(101);
    opened.socket.destroy();
    get.destroy();
  });

  test("requests and WebSockets to a name that never resolves get the same refusal after the connect timeout", async () => {
    await using stage = await startStage({}, { connectTimeoutMs: 2_000 });
    const plain = await rawRequest(stage.proxy.port, `GET / HTTP/1.1\r\nHost: x\r\n${stage.to()}\r\n\r\n`);
    const socket = await openRawWebSocket(stage.proxy.port, "/", { extra: `${stage.to()}\r\n` });
    expect([plain.status, socket.status]).toEqual([503, 503]);
    expect(stage.proxy.accessLog.map(({ code }) => code)).toEqual(["upstream_unresolved", "upstream_unresolved"]);
    expect(countAsked(stage.dns)).toBeGreaterThan(1);
    socket.socket.destroy();
  });

  test.each<[string, DnsRecords]>([
    ["silent", { ipv4: "silent", ipv6: "silent" }],
    ["failing", { ipv4: "fail", ipv6: "fail" }],
    [
      "huge",
      {
        ipv4: (query) => [
          Buffer.concat([
            query.subarray(0, 2),
            HUGE_ANSWER.subarray(2, 12),
            query.subarray(12),
            HUGE_ANSWER.subarray(12),
          ]),
        ],
      },
    ],
  ])("hundreds of %s names of one tenant do not disturb others", async (_what, records) => {
    await using stage = await startStage({ [fqdnOf("sb")]: { ipv4: [OLD] } }, { clock: createHurriedClock(1) });
    const greedy: RawConnection[] = [];
    for (let index = 0; index < 300; index++) {
      const name = `greedy${index}`;
      stage.dns.names.set(fqdnOf(name, "evil"), records);
      stage.publish(name, "evil");
      const connection = await openRaw(stage.proxy.port);
      stage.send(connection, "GET /\r\n\r\n", name);
      greedy.push(connection);
    }
    await eventually(() => stage.proxy.server.inFlight() === greedy.length && stage.dns.asked.length >= 32);
    const honest = await rawRequest(stage.proxy.port, `GET / HTTP/1.1\r\nHost: x\r\n${stage.to()}\r\n\r\n`);
    expect([honest.status, honest.body]).toEqual([200, OLD]);
    // None of them had an end first.
    expect(stage.proxy.server.inFlight()).toBe(greedy.length);
    for (const connection of greedy) connection.destroy();
    await eventually(() => stage.proxy.server.inFlight() === 0);
  });
});
