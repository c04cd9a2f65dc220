import { afterAll, beforeAll, describe, expect, test } from "bun:test";

import { eventually } from "../../scripts/lib/eventually.ts";
import { type ProxyHarness, startProxy } from "../../scripts/lib/stage/proxy-harness.ts";
import { headerValues, type RawAnswer, rawRequest } from "../../scripts/lib/stage/raw-client.ts";
import { acceptKey } from "../../scripts/lib/stage/raw-websocket.ts";
import { parseAccessKeys } from "../../src/access/keys.ts";
import { signRoute } from "../../src/access/signature.ts";
import { parseAddressSet } from "../../src/address.ts";
import { createAccessLog } from "../../src/proxy/report/access-log.ts";
import { ACCESS_KEYS, ACCESS_TOKEN } from "../support/access-stage.ts";
import { systemClock } from "../../src/clock.ts";
import { createLogger } from "../../src/log/logger.ts";
import { headerOf, type RawUpstream, type SeenRequest, startRawUpstream } from "../support/raw-upstream.ts";

const UPGRADE = ["Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="];

let upstream: RawUpstream;
const proxies = new Map<string, ProxyHarness>();
const lines: string[] = [];
const logger = createLogger({
  level: "debug",
  format: "text",
  clock: systemClock,
  write: async (chunk) => void lines.push(...chunk.split("\n").slice(0, -1)),
});

beforeAll(async () => {
  upstream = await startRawUpstream((socket, request) => {
    const key = headerOf(request, "sec-websocket-key");
    if (key === undefined)
      return void socket.write("HTTP/1.1 200 OK\r\nContent-Type: t/x\r\nContent-Length: 2\r\n\r\nok");
    socket.end(
      `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${acceptKey(key)}\r\n\r\n`,
    );
  });
  for (const mode of ["header", "uri"] as const) {
    for (const trust of ["none", "127.0.0.1"]) {
      const accessLog = createAccessLog("all", { logger, clock: systemClock });
      const config = { mode, trustedProxies: parseAddressSet(trust) };
      const proxy = startProxy(config, { accessKeys: ACCESS_KEYS, accessLog });
      proxy.provider.set({ name: "sb" });
      proxy.provider.set({ name: "closed", accessToken: ACCESS_TOKEN });
      proxies.set(`${mode} ${trust}`, proxy);
    }
  }
});

afterAll(async () => {
  for (const proxy of proxies.values()) await proxy[Symbol.asyncDispose]();
  await upstream[Symbol.asyncDispose]();
});

interface Sent {
  readonly mode?: "header" | "uri";
  readonly trust?: "none" | "127.0.0.1";
  readonly kind?: "GET" | "POST" | "websocket";
  readonly sandbox?: string;
  readonly host?: string;
  readonly path?: string;
  /** In header mode the route is in `host`, not in a header. */
  readonly byHost?: boolean;
  /** A whole line has a line end; of bytes above 127 each is one. */
  readonly lines?: readonly string[];
}

/** Sends one request. Returns its answer and what the sandbox got. */
async function send(sent: Sent): Promise<{ readonly answer: RawAnswer; readonly seen: SeenRequest | undefined }> {
  const { mode = "header", trust = "none", kind = "GET", sandbox = "sb", host = "h.test", path = "/x" } = sent;
  const proxy = proxies.get(`${mode} ${trust}`);
  const target = mode === "uri" ? `/${sandbox}/${upstream.port}${path}` : path;
  const own = kind === "POST" ? ["Content-Length: 2"] : kind === "websocket" ? UPGRADE : [];
  const head = [`${kind === "POST" ? "POST" : "GET"} ${target} HTTP/1.1`, `Host: ${host}`, ...own];
  if (mode === "header" && sent.byHost !== true) head.push(`OpenSandbox-Ingress-To: ${sandbox}-${upstream.port}`);
  const text = [...head, ...(sent.lines ?? []), "", kind === "POST" ? "hi" : ""].join("\r\n");
  const before = upstream.requests.length;
  const answer = await rawRequest(proxy?.port ?? 0, Buffer.from(text, "latin1"));
  return { answer, seen: upstream.requests[before] };
}

const KINDS = ["GET", "POST", "websocket"] as const;
const EVERYWHERE = KINDS.flatMap((kind) =>
  (["none", "127.0.0.1"] as const).flatMap((trust) =>
    (["header", "uri"] as const).map((mode) => [kind, trust, mode] as const),
  ),
);

/** Names that a client may want removed, or that it hopes are trusted once they are named. */
const NAMED = [
  "Host",
  "Content-Length",
  "Transfer-Encoding",
  "X-Forwarded-For",
  "X-Forwarded-Host",
  "X-Forwarded-Proto",
  "X-Forwarded-Prefix",
  "Forwarded",
  "X-Real-IP",
  "CDN-Loop",
  "X-Request-Id",
  "Sec-WebSocket-Key",
  "Sec-WebSocket-Version",
  "Sec-WebSocket-Extensions",
  "OpenSandbox-Ingress-To",
  "OPEN-SANDBOX-INGRESS",
  "OpenSandbox-Secure-Access",
  "OpenSandbox-Access-Renew",
  "X-OSB-Tenant",
] as const;

const PRIVATE = [
  "opensandbox-ingress-to",
  "open-sandbox-ingress",
  "opensandbox-secure-access",
  "opensandbox-access-renew",
  "x-osb-tenant",
  "connection-x",
];

describe("Connection", () => {
  test.each(EVERYWHERE)(
    "rewriteRequestHeaders sends the same, whatever Connection names (%s, trusted: %s, %s mode)",
    async (kind, trust, mode) => {
      const told = [
        "X-Request-Id: mine",
        `OpenSandbox-Secure-Access: ${ACCESS_TOKEN}`,
        "OpenSandbox-Access-Renew: skip",
        "X-OSB-Tenant: me",
        "Connection-X: gone",
      ];
      const names = [...NAMED, "Connection-X"];
      const upgrade = kind === "websocket" ? "Upgrade, " : "";
      const spellings = [
        [`Connection: ${upgrade}${names.join(", ")}`],
        [`Connection: ${upgrade}${names.join(",").toUpperCase()},`],
        [`Connection: ${upgrade}keep-alive`, ...names.map((name) => `connection:\t${name} `)],
      ];
      for (const spelling of spellings) {
        const { answer, seen } = await send({ kind, trust, mode, lines: [...spelling, ...told] });
        expect(answer.status).toBe(kind === "websocket" ? 101 : 200);
        const got = (name: string) => headerOf(seen, name);
        expect(got("host")).toBe(`127.0.0.1:${upstream.port}`);
        expect([got("x-forwarded-for"), got("x-forwarded-host"), got("x-forwarded-proto")]).toEqual([
          "127.0.0.1",
          "h.test",
          "http",
        ]);
        expect(got("x-forwarded-prefix")).toBe(mode === "uri" ? `/sb/${upstream.port}` : undefined);
        expect([got("cdn-loop"), got("x-request-id")]).toEqual(["opensandbox-ingress", "mine"]);
        expect(PRIVATE.filter((name) => got(name) !== undefined)).toEqual([]);
        expect(seen?.body).toBe(kind === "POST" ? "hi" : "");
      }
    },
  );

  test.each(KINDS)("the access check uses the headers as sent, whatever Connection names (%s)", async (kind) => {
    const upgrade = kind === "websocket" ? "Upgrade, " : "";
    const hiding = `Connection: ${upgrade}Authorization, OpenSandbox-Secure-Access, OpenSandbox-Ingress-To, Host`;
    for (const trust of ["none", "127.0.0.1"] as const) {
      const without = await send({ kind, trust, sandbox: "closed", lines: [hiding] });
      expect([without.answer.status, without.seen]).toEqual([401, undefined]);
      const token = `OpenSandbox-Secure-Access: ${ACCESS_TOKEN}`;
      const withToken = await send({ kind, trust, sandbox: "closed", lines: [hiding, token] });
      expect(withToken.answer.status).toBe(kind === "websocket" ? 101 : 200);
    }
  });

  test("Connection removes the client's own headers that it names: Authorization and Cookie go, others stay", async () => {
    const { seen } = await send({
      lines: ["Connection: Authorization, cookie", "Authorization: a", "Cookie: b", "X-C: c"],
    });
    expect([headerOf(seen, "authorization"), headerOf(seen, "cookie"), headerOf(seen, "x-c")]).toEqual([
      undefined,
      undefined,
      "c",
    ]);
  });
});

describe("signed links", () => {
  const link = () => {
    const expiresB36 = (Math.floor(Date.now() / 1000) + 3_600).toString(36);
    return signRoute(parseAccessKeys(ACCESS_KEYS), "a", { sandboxId: "closed", port: upstream.port, expiresB36 });
  };

  test.each(EVERYWHERE)(
    "no header sends the sandbox a signature or its expiry (%s, trusted: %s, %s mode)",
    async (...at) => {
      const [kind, trust, mode] = at;
      const { expiresB36, signature } = link();
      const label = `closed-${upstream.port}-${expiresB36}-${signature}`;
      const signedPath = `/closed/${upstream.port}/${expiresB36}/${signature}`;
      for (const host of [`${label}.apps.test`, `${label.toUpperCase()}.Apps.test:8443`]) {
        const urls = [
          `https://${host}`,
          `https://${host}/page?x=1`,
          `http://h.test${signedPath}`,
          `http://h.test/outer${signedPath}/page#top`,
          `https://${host}${signedPath}/page`,
        ];
        for (const url of urls) {
          const own = [
            `Origin: https://${host}`,
            `Referer: ${url}`,
            `X-Forwarded-Prefix: /outer${signedPath}`,
            `X-Forwarded-Host: ${host}, ${host}`,
            `X-Forwarded-Uri: ${signedPath}/x`,
            `Forwarded: for=1.2.3.4;host="${host}";proto=https`,
          ];
          const lines = kind === "websocket" ? ["Connection: Upgrade", ...own] : own;
          const path = mode === "uri" ? `/${expiresB36}/${signature}/x` : "/x";
          // In header mode the route is the host, and its credential is the only one.
          const { answer, seen } = await send({
            kind,
            trust,
            mode,
            sandbox: "closed",
            host,
            path,
            lines,
            byHost: true,
          });
          expect(answer.status).toBe(kind === "websocket" ? 101 : 200);
          const text = [seen?.line, ...(seen?.headerLines ?? [])].join("\n").toLowerCase();
          expect(text).not.toContain(signature);
          expect(text).not.toContain(expiresB36);
          expect(text).not.toContain(ACCESS_TOKEN);
        }
      }
    },
  );
});

describe("the origin of a signed link", () => {
  const link = () => {
    const expiresB36 = (Math.floor(Date.now() / 1000) + 3_600).toString(36);
    const fields = { sandboxId: "closed", port: upstream.port, expiresB36 };
    return `closed-${upstream.port}-${expiresB36}-${signRoute(parseAccessKeys(ACCESS_KEYS), "a", fields).signature}`;
  };

  test.each([
    ["as in Host", "DOMAIN", "DOMAIN", undefined],
    ["with https's port in Host", "DOMAIN", "DOMAIN:443", undefined],
    ["with http's port in Host", "DOMAIN", "DOMAIN:80", undefined],
    ["with a port in both", "DOMAIN:8443", "DOMAIN:8443", undefined],
    ["as a trusted proxy tells it", "PUBLIC", "DOMAIN", "PUBLIC"],
    ["as a trusted proxy tells it, with a port", "PUBLIC", "DOMAIN:8080", "PUBLIC:443"],
    ["as the first of several proxies tells it", "PUBLIC", "DOMAIN", "PUBLIC, DOMAIN"],
  ])(
    "rewriteRequestHeaders takes the credential out of the client's own Origin: %s",
    async (_name, origin, host, told) => {
      const signed = link();
      const fill = (text: string): string =>
        text.replaceAll("DOMAIN", `${signed}.apps.test`).replaceAll("PUBLIC", `${signed}.public.test`);
      const lines = [
        `Origin: https://${fill(origin)}`,
        ...(told === undefined ? [] : [`X-Forwarded-Host: ${fill(told)}`]),
      ];
      const { answer, seen } = await send({ trust: "127.0.0.1", host: fill(host), byHost: true, lines });
      expect(answer.status).toBe(200);
      expect(headerOf(seen, "origin")).toBe(`https://${fill(origin).replace(signed, `closed-${upstream.port}`)}`);
    },
  );

  test("rewriteRequestHeaders leaves the Origin of another host, and what a peer tells that nobody trusts", async () => {
    const signed = link();
    const foreign = `https://${signed}.other.test`;
    for (const told of [[], [`X-Forwarded-Host: ${signed}.other.test`]]) {
      const { seen } = await send({
        host: `${signed}.apps.test`,
        byHost: true,
        lines: [`Origin: ${foreign}`, ...told],
      });
      expect(headerOf(seen, "origin")).toBe(foreign);
    }
  });
});

describe("request ids", () => {
  test.each<[string, readonly string[]]>([
    ["nothing", ["X-Request-Id:"]],
    ["a space within", ["X-Request-Id: a b"]],
    ["a tab within", ["X-Request-Id: a\tb"]],
    ["129 characters", [`X-Request-Id: ${"i".repeat(129)}`]],
    ["16,000 characters", [`X-Request-Id: ${"i".repeat(16_000)}`]],
    ["two fields", ["X-Request-Id: bad-1", "X-Request-Id: bad-2"]],
    ["a byte above ASCII", ["X-Request-Id: bad-\xe9"]],
    ["UTF-8", ["X-Request-Id: bad-\xc3\xa9\xe2\x80\xae"]],
    ["DEL", ["X-Request-Id: bad-\x7f"]],
    ["a control character", ["X-Request-Id: bad-\x1b[31m"]],
  ])("createRequestIds makes a new id instead of %s, for sandbox, log and answer", async (_what, sent) => {
    lines.length = 0;
    const { answer, seen } = await send({ lines: sent });
    const [id = ""] = headerValues(answer, "x-request-id");
    // Bun itself refuses some control characters before the ingress gets the request.
    if (answer.status === 400) return expect([seen, answer.raw.includes("bad-")]).toEqual([undefined, false]);
    expect(id).toMatch(/^test-[0-9a-z]+$/);
    expect(headerOf(seen, "x-request-id")).toBe(id);
    await eventually(async () => {
      await logger.flush();
      return lines.some((line) => line.includes(id));
    });
    expect(lines.join("\n")).not.toMatch(/bad-|iiii/);
  });

  test.each(["a", "!~", 'x"_status=200_code="', "\\n\\u0000", "a=b,c;d", "<script>", "i".repeat(128)])(
    "createRequestIds keeps %j, which is one value in one line of the log",
    async (id) => {
      lines.length = 0;
      const { answer, seen } = await send({ lines: [`X-Request-Id:  ${id} `] });
      expect([headerValues(answer, "x-request-id"), headerOf(seen, "x-request-id")]).toEqual([[id], id]);
      await eventually(async () => {
        await logger.flush();
        return lines.length > 0;
      });
      expect(lines).toHaveLength(1);
      const value = /^\w+$/.test(id) ? id : JSON.stringify(id);
      expect(lines[0]).toEndWith(` requestId=${value} client=127.0.0.1`);
    },
  );
});
