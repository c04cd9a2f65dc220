import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import type { Socket } from "node:net";

import { createAccessChecker } from "../../src/access/checker.ts";
import { FailureLimiter } from "../../src/access/failure-limiter.ts";
import type { AccessChecker } from "../../src/access/request.ts";
import { parseAccessKeys } from "../../src/access/keys.ts";
import { signRoute } from "../../src/access/signature.ts";
import { type Clock, systemClock } from "../../src/clock.ts";
import { formatLabelRoute } from "../../src/route/format-route.ts";
import { eventually } from "../../scripts/lib/eventually.ts";
import { type ProxyHarness, startProxy } from "../../scripts/lib/stage/proxy-harness.ts";
import { openRaw, type RawConnection, rawRequest } from "../../scripts/lib/stage/raw-client.ts";
import {
  acceptKey,
  openRawWebSocket,
  OPCODE,
  parseClose,
  type RawWebSocket,
} from "../../scripts/lib/stage/raw-websocket.ts";
import { headerOf, type RawUpstream, startRawUpstream } from "../support/raw-upstream.ts";
import { createTableProvider, type TableProvider } from "../../scripts/lib/stage/table-provider.ts";

/** The period of the grant check, in milliseconds. */
const PERIOD_MS = 10_000;
const HOUR_MS = 3_600_000;

const KEYS = parseAccessKeys("a=AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=");
const OTHER_KEYS = parseAccessKeys("a=/////////////////////////////////////////w==");
const WITHOUT_KEY = parseAccessKeys("b=AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=");

let sandbox: RawUpstream;
let provider: TableProvider;
let proxy: ProxyHarness;
let keys = KEYS;
/** How far the test has moved each clock. */
let monotonicMs = 0;
let wallMs = 0;
/** How many grants have been checked again. */
let looks = 0;

/** The machine's clock, which the test can move forward. Timers are those of the machine. */
const clock: Clock = {
  now: () => systemClock.now() + wallMs,
  monotonic: () => systemClock.monotonic() + monotonicMs,
  setTimer: (delayMs, fire) => systemClock.setTimer(delayMs, fire),
};

function start(options: { readonly endAtExpiry?: boolean } = {}): void {
  provider = createTableProvider();
  const failures = new FailureLimiter({ clock });
  const checker = createAccessChecker({ keys: () => keys, failures, clock, ...options });
  const access: AccessChecker = {
    check: (request) => checker.check(request),
    isStillGranted(grant, state) {
      looks++;
      return checker.isStillGranted(grant, state);
    },
  };
  proxy = startProxy({}, { provider, clock, access });
  for (const name of ["secured", "other"]) provider.set({ name, accessToken: "first" });
}

beforeEach(async () => {
  keys = KEYS;
  monotonicMs = 0;
  wallMs = 0;
  sandbox = await startRawUpstream((socket: Socket, request) => {
    const key = headerOf(request, "sec-websocket-key");
    if (request.line.includes("/hang")) return;
    if (key === undefined) {
      socket.write("HTTP/1.1 200 OK\r\nContent-Type: t/x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nbegin\r\n");
    } else {
      socket.write(
        `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${acceptKey(key)}\r\n\r\n`,
      );
    }
  });
});

afterEach(async () => {
  await proxy[Symbol.asyncDispose]();
  await sandbox[Symbol.asyncDispose]();
});

type Credential = "token" | "link";

/** The header lines of a request with a credential. */
function lines(name: string, credential: Credential): string {
  const target = { sandboxId: name, port: sandbox.port };
  if (credential === "token") {
    const route = `OpenSandbox-Ingress-To: ${formatLabelRoute({ ...target, signature: undefined })}\r\n`;
    return `${route}OpenSandbox-Secure-Access: first\r\n`;
  }
  const expiresB36 = Math.floor((clock.now() + HOUR_MS) / 1_000).toString(36);
  const signature = signRoute(KEYS, "a", { ...target, expiresB36 });
  return `OpenSandbox-Ingress-To: ${formatLabelRoute({ ...target, signature })}\r\n`;
}

interface Opened {
  readonly tunnel: RawWebSocket;
  readonly stream: RawConnection;
  readonly hanging: RawConnection;
}

/** A WebSocket, a stream that has begun, and a request without an answer yet. */
async function openAll(name: string, credential: Credential): Promise<Opened> {
  const extra = lines(name, credential);
  const send = async (path: string): Promise<RawConnection> => {
    const connection = await openRaw(proxy.port);
    connection.write(`GET ${path} HTTP/1.1\r\nHost: h.test\r\n${extra}\r\n`);
    return connection;
  };
  const before = proxy.server.inFlight();
  const tunnel = await openRawWebSocket(proxy.port, "/", { extra });
  expect(tunnel.status).toBe(101);
  const stream = await send("/");
  await stream.until((text) => text.includes("begin"));
  const hanging = await send("/hang");
  await eventually(() => proxy.server.inFlight() === before + 3);
  return { tunnel, stream, hanging };
}

function leave({ tunnel, stream, hanging }: Opened): void {
  tunnel.socket.destroy();
  stream.destroy();
  hanging.destroy();
}

/** Asserts that all three end, each in its own way, and that the others go on. */
async function expectRevoked(opened: Opened, others: Opened | undefined): Promise<void> {
  const close = await opened.tunnel.frames.next();
  expect([close?.opcode, parseClose(close?.payload ?? Buffer.alloc(0))]).toEqual([
    OPCODE.close,
    { code: 1008, reason: "access denied" },
  ]);
  // The last chunk is missing, so the client sees that the answer is not whole.
  expect((await opened.stream.closed()).endsWith("5\r\nbegin\r\n")).toBe(true);
  const answer = await opened.hanging.readAnswer();
  expect([answer.status, answer.body]).toEqual([401, "OpenSandbox Ingress: access denied\n"]);
  leave(opened);
  await eventually(() => proxy.server.inFlight() === (others === undefined ? 0 : 3));
  expect(proxy.accessLog.map(({ code }) => code)).toEqual(Array<"access_revoked">(3).fill("access_revoked"));
  if (others === undefined) return;
  expect([others.tunnel.socket.readyState, others.stream.isClosed, others.hanging.isClosed]).toEqual([
    "open",
    false,
    false,
  ]);
  leave(others);
  await eventually(() => proxy.server.inFlight() === 0);
}

/** Lets the next sweep check the grants, and waits until it has checked all. */
async function passPeriod(): Promise<void> {
  const before = looks;
  monotonicMs += PERIOD_MS;
  await eventually(() => looks >= before + proxy.server.inFlight());
}

describe("what is open when its credential changes", () => {
  test.each([
    ["token", "its token is another", () => provider.set({ name: "secured", accessToken: "second" })],
    ["link", "its key is another", () => (keys = OTHER_KEYS)],
    ["link", "its key is gone", () => (keys = WITHOUT_KEY)],
  ] as const)("ends within the period of the check: a %s, if %s", async (credential, _name, change) => {
    start();
    const opened = await openAll("secured", credential);
    const others = await openAll("other", credential === "token" ? "link" : "token");
    change();
    monotonicMs += PERIOD_MS;
    await expectRevoked(opened, others);
    const again = await rawRequest(proxy.port, `GET / HTTP/1.1\r\nHost: h.test\r\n${lines("secured", credential)}\r\n`);
    expect(again.status).toBe(401);
  });

  test("ends if its sandbox was open and is secured now", async () => {
    start();
    provider.set({ name: "secured", accessToken: "" });
    const opened = await openAll("secured", "token");
    provider.set({ name: "secured", accessToken: "first" });
    monotonicMs += PERIOD_MS;
    await expectRevoked(opened, undefined);
  });

  test("goes on if its sandbox becomes open, or if only the table changes", async () => {
    start();
    const opened = await openAll("secured", "token");
    provider.set({ name: "secured", accessToken: "first", ready: false });
    await passPeriod();
    provider.set({ name: "secured", accessToken: "" });
    await passPeriod();
    expect(proxy.server.inFlight()).toBe(3);
    leave(opened);
  });
});

describe("what a link admitted that has expired meanwhile", () => {
  test("lives on, while the link itself is refused", async () => {
    start();
    const extra = lines("secured", "link");
    const opened = await openAll("secured", "link");
    wallMs += 2 * HOUR_MS;
    await passPeriod();
    expect([proxy.server.inFlight(), opened.tunnel.socket.readyState, opened.stream.isClosed]).toEqual([
      3,
      "open",
      false,
    ]);
    expect((await rawRequest(proxy.port, `GET / HTTP/1.1\r\nHost: h.test\r\n${extra}\r\n`)).status).toBe(401);
    leave(opened);
  });

  test("ends with --end-at-expiry; exchanges that a token admitted go on", async () => {
    start({ endAtExpiry: true });
    const opened = await openAll("secured", "link");
    const others = await openAll("other", "token");
    await passPeriod();
    expect(proxy.server.inFlight()).toBe(6);
    wallMs += 2 * HOUR_MS;
    monotonicMs += PERIOD_MS;
    await expectRevoked(opened, others);
  });
});
