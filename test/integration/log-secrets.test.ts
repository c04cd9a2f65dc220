import { afterAll, beforeAll, describe, expect, test } from "bun:test";

import { endpointRules } from "../../scripts/lib/stage/endpoint-rules.ts";
import { FAILURE_BURST } from "../../src/access/failure-limiter.ts";
import { parseAccessKeys } from "../../src/access/keys.ts";
import { signRoute } from "../../src/access/signature.ts";
import { systemClock } from "../../src/clock.ts";
import { createDnsLookup } from "../../src/proxy/upstream/dns-lookup.ts";
import { ACCESS_KEYS } from "../support/access-stage.ts";
import { type DnsRecords, type DnsServer, startDnsServer } from "../support/dns-server.ts";
import { startRawUpstream } from "../support/raw-upstream.ts";
import { createLoggerWithAccess } from "../support/logger-with-access.ts";
import { eventually } from "../../scripts/lib/eventually.ts";
import { startFaultUpstream, UPSTREAM_FAULTS } from "../support/fault-upstreams.ts";
import { type ProxyHarness, startProxy } from "../../scripts/lib/stage/proxy-harness.ts";
import { openRaw } from "../../scripts/lib/stage/raw-client.ts";

/** Stands in path, query, credentials, cookies, sub-protocol and body: a line of the log that has it is a leak. */
const SECRET = "s3cr3t";
const TOKEN = `${SECRET}-token`;

let proxy: ProxyHarness;
let uriProxy: ProxyHarness;
let dns: DnsServer;
const lines: string[] = [];
const write = async (chunk: string) => void lines.push(...chunk.split("\n").slice(0, -1));
const logger = createLoggerWithAccess({ level: "debug", format: "text", accessLog: "all", clock: systemClock, write });

const nameOf = (name: string) => `${name}.default.svc.cluster.local`;
/** Names of sandboxes, by what the DNS says of them. */
const NAMES: Readonly<Record<string, DnsRecords>> = {
  fails: { ipv4: "fail", ipv6: "fail" },
  silent: { ipv4: "silent", ipv6: "silent" },
  unfit: { ipv4: ["169.254.169.254"] },
  garbage: { ipv4: (query) => [Buffer.concat([query.subarray(0, 2), Buffer.from([0x81, 0x80]), query.subarray(4)])] },
  huge: { ipv4: Array.from({ length: 200 }, (_, index) => `10.0.0.${index}`), ipv6: "fail" },
};

beforeAll(async () => {
  dns = await startDnsServer(
    Object.fromEntries(Object.entries(NAMES).map(([name, records]) => [nameOf(name), records])),
  );
  const lookup = createDnsLookup({ clusterDomain: "cluster.local", servers: [dns.address] });
  const names = { lookup, judge: endpointRules().judge, logger };
  const config = { responseTimeoutMs: 500, connectTimeoutMs: 300 };
  const parts = { accessLog: logger.accessLog, accessKeys: ACCESS_KEYS, names };
  proxy = startProxy(config, parts);
  proxy.provider.set({ name: "sb", accessToken: TOKEN });
  for (const name of ["missing", ...Object.keys(NAMES)]) {
    proxy.provider.set({ name, accessToken: TOKEN, endpoint: nameOf(name) });
  }
  proxy.provider.set({ name: "away", accessToken: TOKEN, ready: false });
  uriProxy = startProxy({ ...config, mode: "uri" }, { ...parts, provider: proxy.provider });
});
afterAll(async () => {
  await proxy[Symbol.asyncDispose]();
  await uriProxy[Symbol.asyncDispose]();
  await dns[Symbol.asyncDispose]();
});

const PRESENTED = `OpenSandbox-Secure-Access: ${TOKEN}`;
const HEADERS = [
  `Authorization: Bearer ${SECRET}`,
  `Cookie: session=${SECRET}`,
  `Referer: http://other/${SECRET}?token=${SECRET}`,
  `X-Api-Key: ${SECRET}`,
];
const UPGRADE = [
  "Connection: Upgrade",
  "Upgrade: websocket",
  "Sec-WebSocket-Version: 13",
  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
  `Sec-WebSocket-Protocol: ${SECRET}`,
];

type Kind = "GET" | "POST" | "websocket";

interface Sent {
  /** Default: the header form's. */
  readonly harness?: ProxyHarness;
  readonly host?: string;
  /** Before the secret path. */
  readonly prefix?: string;
  /** The route and the credential. */
  readonly lines: readonly string[];
}

/** Sends one request, waits until it has been logged, and gives the lines that it made. */
async function logOfRequest(kind: Kind, sent: Sent): Promise<readonly string[]> {
  lines.length = 0;
  const client = await openRaw((sent.harness ?? proxy).port);
  const path = `${sent.prefix ?? ""}/${SECRET}/%73?token=${SECRET}&q=%2F`;
  const method = kind === "websocket" ? "GET" : kind;
  const own = kind === "websocket" ? UPGRADE : kind === "POST" ? [`Content-Length: ${SECRET.length}`] : [];
  const head = [`${method} ${path} HTTP/1.1`, `Host: ${sent.host ?? "h"}`, ...sent.lines, ...HEADERS, ...own];
  client.write(`${head.join("\r\n")}\r\n\r\n${kind === "POST" ? SECRET : ""}`);
  try {
    await client.until((received) => received.includes("\r\n\r\n"));
    // What is left of an answer or a tunnel would go on otherwise.
    client.destroy();
    await eventually(async () => {
      await logger.flush();
      return lines.length > 0;
    });
  } finally {
    client.destroy();
  }
  return [...lines];
}

/** The same in the header form, with the token. */
const logOf = (kind: Kind, route: string) =>
  logOfRequest(kind, { lines: [`OpenSandbox-Ingress-To: ${route}`, PRESENTED] });

function expectNoSecret(written: readonly string[]): void {
  expect(written.length).toBeGreaterThan(0);
  expect(written.join("\n").toLowerCase()).not.toContain(SECRET);
  expect(written.join("\n")).not.toContain("%73");
}

describe.each(UPSTREAM_FAULTS)("the log has nothing of a request whose sandbox $name", (fault) => {
  const kinds = fault.for === "http" ? (["GET", "POST"] as const) : (["websocket"] as const);
  test.each(kinds)("%s", async (kind) => {
    await using upstream = await startFaultUpstream(fault);
    expectNoSecret(await logOf(kind, `sb-${upstream.port}`));
    expect(upstream.connections).toBeGreaterThan(0);
  });
});

describe.each(["GET", "POST", "websocket"] as const)("the log has nothing of a %s", (kind) => {
  test.each([
    ["whose sandbox refuses the connection", "sb-1", "upstream_refused"],
    ["whose sandbox has a name that does not exist", "missing-80", "upstream_unresolved"],
    ["whose sandbox has a name that cannot be looked up", "fails-80", "upstream_unresolved"],
    ["whose sandbox has a name that nobody answers", "silent-80", "upstream_unresolved"],
    ["whose sandbox has a name with an invalid answer", "garbage-80", "upstream_unresolved"],
    ["whose sandbox has a name with too many addresses", "huge-80", "upstream_unresolved"],
    ["whose sandbox has a name that must not be dialled", "unfit-80", "sandbox_not_ready"],
    ["whose sandbox is not ready", "away-80", "sandbox_not_ready"],
    ["whose sandbox does not exist", "nobody-80", "sandbox_not_found"],
    ["whose route is invalid", `sb-80-${SECRET}`, "route_invalid"],
    ["whose signature is wrong", `away-80-zz-${SECRET}`, "route_invalid"],
  ])("%s", async (_what, route, code) => {
    const written = await logOf(kind, route);
    expectNoSecret(written);
    expect(written.join("\n")).toContain(code);
  });
});

describe.each(["GET", "POST", "websocket"] as const)("the log has nothing of the credentials of a %s", (kind) => {
  const now = Math.floor(Date.now() / 1000);
  const sign = (expiresB36: string) =>
    signRoute(parseAccessKeys(ACCESS_KEYS), "a", { sandboxId: "sb", port: 80, expiresB36 }).signature;
  const future = (now + 3_600).toString(36);
  const past = (now - 3_600).toString(36);
  const wrong = sign(future).replace(/^./, (digit) => (digit === "0" ? "1" : "0"));

  test.each<[string, readonly [string, string] | undefined, string | undefined, string]>([
    ["without any", undefined, undefined, "signature_required"],
    ["with a wrong token", undefined, `${TOKEN}x`, "token_mismatch"],
    ["with a wrong token and a good link", [future, sign(future)], `${TOKEN}x`, "token_mismatch"],
    ["with a wrong link", [future, wrong], undefined, "signature_invalid"],
    ["with a link of an unknown key", [future, `${sign(future).slice(0, 8)}z`], undefined, "signature_invalid"],
    ["with a link that is over", [past, sign(past)], undefined, "access_expired"],
    ["with a good link, to a sandbox that does not answer", [future, sign(future)], undefined, "upstream_refused"],
  ])("%s", async (_what, link, token, code) => {
    const presented = token === undefined ? [] : [`OpenSandbox-Secure-Access: ${token}`];
    const label = ["sb", "80", ...(link ?? [])].join("-");
    const forms: readonly Sent[] = [
      { lines: [`OpenSandbox-Ingress-To: ${label}`, ...presented] },
      { host: `${label}.apps.test`, lines: presented },
      { harness: uriProxy, prefix: ["/sb", "80", ...(link ?? [])].join("/"), lines: presented },
    ];
    for (const form of forms) {
      const written = await logOfRequest(kind, form);
      expectNoSecret(written);
      const text = written.join("\n");
      expect(text).toContain(code);
      for (const part of link ?? []) expect(text).not.toContain(part);
    }
  });
});

test("the log has nothing of links that are guessed, up to the refusal for their number", async () => {
  // Another sandbox, whose budget is its own.
  proxy.provider.set({ name: "guessed", accessToken: TOKEN });
  for (let guess = 0; ; guess++) {
    const digits = guess.toString(16).padStart(8, "0");
    const written = await logOfRequest("GET", { lines: [`OpenSandbox-Ingress-To: guessed-80-3w5e11zz-${digits}a`] });
    expectNoSecret(written);
    expect(written.join("\n")).not.toMatch(new RegExp(`${digits}a|3w5e11zz`));
    if (written.join("\n").includes("access_throttled")) break;
    expect(guess).toBeLessThan(FAILURE_BURST);
  }
});

describe.each([301, 302, 303, 307, 308, 201])(
  "the log has nothing of an answer with status %d that leads elsewhere",
  (status) => {
    test.each([
      ["a path", `/${SECRET}?token=${SECRET}`],
      ["the sandbox's own address", `http://127.0.0.1:80/${SECRET}?token=${SECRET}`],
      ["another host", `https://${SECRET}.test/?token=${SECRET}`],
      ["an invalid URL", `http://[${SECRET}/%zz`],
      ["a script", `javascript:alert("${SECRET}")`],
      ["16,000 characters", `/${SECRET.repeat(2_000)}`],
    ])("%s", async (_what, url) => {
      const fields = ["Location", "Content-Location", "Refresh", "Link", "Set-Cookie"].map((name) => `${name}: ${url}`);
      await using upstream = await startRawUpstream(
        `HTTP/1.1 ${status} X\r\nContent-Type: t/x\r\n${fields.slice(0, url.length > 9_000 ? 1 : 5).join("\r\n")}\r\nContent-Length: 0\r\n\r\n`,
      );
      for (const kind of ["GET", "websocket"] as const) {
        const written = await logOf(kind, `sb-${upstream.port}`);
        expectNoSecret(written);
        expect(written.join("\n")).toContain(`status=${status}`);
      }
      const prefix = `/sb/${upstream.port}`;
      expectNoSecret(await logOfRequest("GET", { harness: uriProxy, prefix, lines: [PRESENTED] }));
    });
  },
);
