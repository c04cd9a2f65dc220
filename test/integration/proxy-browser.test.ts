import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";

import { parseAccessKeys } from "../../src/access/keys.ts";
import { signRoute } from "../../src/access/signature.ts";
import { parseAddressSet } from "../../src/address.ts";
import { formatUriRoute } from "../../src/route/format-route.ts";
import type { SandboxPolicy } from "../../src/sandbox/policy.ts";
import { DEFAULT_BROWSER, type ProxyHarness, startProxy } from "../../scripts/lib/stage/proxy-harness.ts";
import { headerValues, type RawAnswer, rawRequest } from "../../scripts/lib/stage/raw-client.ts";
import { acceptKey, openRawWebSocket } from "../../scripts/lib/stage/raw-websocket.ts";
import { ACCESS_KEYS } from "../support/access-stage.ts";
import { headerOf, type RawUpstream, startRawUpstream } from "../support/raw-upstream.ts";

let upstream: RawUpstream;
/** Header lines of the sandbox's answers. */
let answerLines: readonly string[] = [];
let byHost: ProxyHarness;
let byUri: ProxyHarness;
let trusting: ProxyHarness;
/** The sandbox's own `host:port`. */
let own: string;
/** The URI form's prefix, plain and signed. */
let prefix: string;
let signed: string;

beforeAll(async () => {
  upstream = await startRawUpstream((socket, request) => {
    const key = headerOf(request, "sec-websocket-key");
    const lines = answerLines.map((line) => `${line}\r\n`).join("");
    if (key !== undefined && request.line.includes("/open")) {
      const accept = `Sec-WebSocket-Accept: ${acceptKey(key)}\r\n`;
      socket.write(`HTTP/1.1 101 S\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n${accept}${lines}\r\n`, "latin1");
      return;
    }
    socket.write(`HTTP/1.1 200 OK\r\n${lines}Content-Length: 2\r\n\r\nok`, "latin1");
  });
  own = `127.0.0.1:${upstream.port}`;
  prefix = `/sb/${upstream.port}`;
  byHost = startProxy();
  const { provider } = byHost;
  byUri = startProxy({ mode: "uri" }, { provider, accessKeys: ACCESS_KEYS });
  trusting = startProxy({ mode: "uri", trustedProxies: parseAddressSet("127.0.0.1") }, { provider });
  const target = { sandboxId: "locked", port: upstream.port, expiresB36: "zzzzzzz" };
  const keys = parseAccessKeys(ACCESS_KEYS);
  signed = formatUriRoute({ ...target, signature: signRoute(keys, keys.ids[0] ?? "", target) });
});

beforeEach(() => {
  answerLines = [];
  setPolicy(undefined);
});

afterAll(async () => {
  for (const harness of [byHost, byUri, trusting]) await harness[Symbol.asyncDispose]();
  await upstream[Symbol.asyncDispose]();
});

function setPolicy(policy: SandboxPolicy | undefined): void {
  byHost.provider.set({ name: "sb", policy });
  byHost.provider.set({ name: "locked", accessToken: "t", policy });
}

const hostName = (): string => `sb-${upstream.port}.Example.test:8443`;

function getByHost(lines: readonly string[] = [], host = hostName()): Promise<RawAnswer> {
  return rawRequest(byHost.port, ["GET /x HTTP/1.1", `Host: ${host}`, ...lines, "", ""].join("\r\n"));
}

function getByUri(path: string, lines: readonly string[] = [], harness = byUri): Promise<RawAnswer> {
  return rawRequest(harness.port, [`GET ${path} HTTP/1.1`, "Host: in.test", ...lines, "", ""].join("\r\n"));
}

const seen = (name: string): string | undefined => headerOf(upstream.requests.at(-1), name);
const pathSeen = (): string | undefined => upstream.requests.at(-1)?.line.split(" ")[1];

describe("Host", () => {
  test("RequestHandler sends the Host that the sandbox's annotation asks for, from the next request on", async () => {
    for (const [policy, host] of [
      [undefined, own],
      [{ hostHeader: "preserve" }, hostName()],
      [{ hostHeader: "localhost" }, `localhost:${upstream.port}`],
      [{ hostHeader: "upstream" }, own],
    ] as const) {
      setPolicy(policy);
      await getByHost();
      expect(seen("host")).toBe(host);
      expect(seen("x-forwarded-host")).toBe(hostName());
    }
  });

  test("RequestHandler follows the annotation of the sandbox, else the flags", async () => {
    const browser = { ...DEFAULT_BROWSER, hostHeader: "preserve" } as const;
    await using proxy = startProxy({ mode: "uri", browser }, { provider: byHost.provider });
    await getByUri(`${prefix}/x`, [], proxy);
    expect(seen("host")).toBe("in.test");
    setPolicy({ hostHeader: "upstream" });
    await getByUri(`${prefix}/x`, [], proxy);
    expect(seen("host")).toBe(own);
  });

  test("RequestHandler never preserves the credential of a signed host", async () => {
    setPolicy({ hostHeader: "preserve" });
    const label = `sb-${upstream.port}`;
    await getByHost([`Referer: http://${label}-zzzzzz-01234567a.test/`], `${label}-zzzzzz-01234567a.test`);
    expect(seen("host")).toBe(`${label}.test`);
    expect(upstream.requests.at(-1)?.headerLines.join("\n")).not.toContain("01234567a");
  });
});

describe("Origin", () => {
  const both = { hostHeader: "localhost", originHeader: "upstream" } as const;

  test("rewriteOrigin changes nothing by default", async () => {
    const origin = `https://${hostName()}`;
    await getByHost([`Origin: ${origin}`, `Referer: ${origin}/a`]);
    expect([seen("origin"), seen("referer")]).toEqual([origin, `${origin}/a`]);
  });

  test("rewriteOrigin turns the client's own origin into the one that the sandbox sees in Host", async () => {
    for (const [policy, host] of [
      [{ originHeader: "upstream" }, own],
      [both, `localhost:${upstream.port}`],
    ] as const) {
      setPolicy(policy);
      for (const scheme of ["http", "https"]) {
        const origin = `${scheme}://${hostName().toUpperCase()}`;
        await getByHost([`Origin: ${origin}`, `Referer: ${origin}/a?b`]);
        expect([seen("origin"), seen("referer")]).toEqual([`http://${host}`, `http://${host}/a?b`]);
      }
    }
  });

  test.each(["null", "https://evil.test", "https://example.test:8443", "ftp://x", "https://sb.test@evil.test", ""])(
    "rewriteOrigin passes the foreign origin %j unchanged",
    async (origin) => {
      setPolicy(both);
      await getByHost([`Origin: ${origin}`, `Referer: ${origin}/`]);
      expect([seen("origin"), seen("referer")]).toEqual([origin, `${origin}/`]);
    },
  );

  test("rewriteOrigin trusts X-Forwarded-Host only from a trusted proxy", async () => {
    setPolicy({ originHeader: "upstream" });
    const lines = ["X-Forwarded-Host: public.test", "Origin: https://public.test:443"];
    await getByUri(`${prefix}/x`, lines);
    expect(seen("origin")).toBe("https://public.test:443");
    await getByUri(`${prefix}/x`, lines, trusting);
    expect(seen("origin")).toBe(`http://${own}`);
  });

  test("rewriteOrigin treats a page below another prefix of the URI form as foreign", async () => {
    setPolicy({ originHeader: "upstream" });
    const origin = "Origin: http://in.test";
    await getByUri(`${prefix}/x`, [origin, `Referer: http://in.test${prefix}/a?b`]);
    expect([seen("origin"), seen("referer")]).toEqual([`http://${own}`, `http://${own}/a?b`]);
    await getByUri(`${prefix}/x`, [origin]);
    expect(seen("origin")).toBe(`http://${own}`);
    for (const other of ["/other/1/", `${prefix}1/`, "/"]) {
      await getByUri(`${prefix}/x`, [origin, `Referer: http://in.test${other}`]);
      expect([seen("origin"), seen("referer")]).toEqual(["http://in.test", `http://in.test${other}`]);
    }
  });

  test("dialWebSocket sends the same Host and Origin, and the client gets the same answer headers", async () => {
    setPolicy(both);
    for (const kind of ["open", "refused"]) {
      answerLines = [`Location: http://${own}/a`, "Set-Cookie: a=b; Path=/"];
      const { head, socket } = await openRawWebSocket(byUri.port, `${prefix}/${kind}`, {
        extra: "Origin: https://h.test\r\n",
      });
      socket.destroy();
      expect([seen("host"), seen("origin")]).toEqual([
        `localhost:${upstream.port}`,
        `http://localhost:${upstream.port}`,
      ]);
      expect(head).toMatch(new RegExp(`location: http://h\\.test${prefix}/a\r\n`, "i"));
      expect(head).toMatch(new RegExp(`set-cookie: a=b; Path=${prefix}/\r\n`, "i"));
    }
  });
});

describe("uri-prefix keep", () => {
  test.each([
    ["a=b; Path=/", "a=b; Path=PREFIX"],
    ["a=b; path = /other/80/; Secure", "a=b; Path=PREFIX; Secure"],
    ["a=b; Path=PREFIXx", "a=b; Path=PREFIX"],
    ["a=b; Path=PREFIX/x; Path=/", "a=b; Path=PREFIX/x; Path=PREFIX"],
    ["a=b; Path=PREFIX", "a=b; Path=PREFIX"],
    ["a=b; Path=PREFIX/x/", "a=b; Path=PREFIX/x/"],
    ["a=b; Path=x", "a=b; Path=x"],
    ["a=b", "a=b"],
    ["__Host-a=b; Path=/; Secure", "__Host-a=b; Path=/; Secure"],
  ])("rewriteCookies keeps a cookie of one sandbox from the others: %s", async (said, expected) => {
    const fill = (text: string): string => text.replaceAll("PREFIX", prefix);
    setPolicy({ uriPrefix: "keep" });
    answerLines = [`Set-Cookie: ${fill(said)}`];
    expect(headerValues(await getByUri(`${prefix}/x`), "set-cookie")).toEqual([fill(expected)]);
  });

  test("RequestHandler forwards the whole path without credential, tells no prefix, and rewrites no path", async () => {
    setPolicy({ uriPrefix: "keep" });
    answerLines = ["Location: /login", `Content-Location: http://${own}/c`];
    const answer = await getByUri(`${prefix}/a%20b?q`);
    expect([pathSeen(), seen("x-forwarded-prefix")]).toEqual([`${prefix}/a%20b?q`, undefined]);
    expect(headerValues(answer, "location")).toEqual(["/login"]);
    expect(headerValues(answer, "content-location")).toEqual(["http://in.test/c"]);
    expect((await getByUri(`${signed}/a`)).status).toBe(200);
    expect(pathSeen()).toBe(`/locked/${upstream.port}/a`);
    await getByUri(`${prefix}/x`, ["X-Forwarded-Prefix: /out"], trusting);
    expect(seen("x-forwarded-prefix")).toBeUndefined();
  });
});

describe("uri-prefix keep: paths", () => {
  test.each(["", "?q", "/", "/?q", "//", "//a", "/a/", "/a//b"])(
    "RequestHandler forwards the path as it came: prefix%s",
    async (rest) => {
      setPolicy({ uriPrefix: "keep" });
      await getByUri(prefix + rest);
      expect(pathSeen()).toBe(prefix + rest);
      await getByUri(signed + rest);
      expect(pathSeen()).toBe(`/locked/${upstream.port}${rest}`);
    },
  );
});

/**
 * Name of a header, its value from the sandbox, and its value for the client. `OWN`, `PREFIX`: the sandbox's host and
 * prefix.
 */
const IN_URI_FORM: readonly (readonly [string, string, string])[] = [
  ["Location", "http://OWN/a?b#c", "http://in.testPREFIX/a?b#c"],
  ["Location", "https://OWN", "http://in.testPREFIX/"],
  ["Location", "//OWN?q", "//in.testPREFIX/?q"],
  ["Location", "/a", "PREFIX/a"],
  ["Location", "/", "PREFIX/"],
  ["Location", "PREFIX/a", "PREFIX/a"],
  ["Location", "PREFIX?a", "PREFIX?a"],
  ["Location", "PREFIX1/a", "PREFIXPREFIX1/a"],
  ["Location", "http://OWNPREFIX/a", "http://in.testPREFIX/a"],
  ["Location", "a/b", "a/b"],
  ["Location", "?a", "?a"],
  ["Location", "//other.test/a", "//other.test/a"],
  ["Location", "https://other.test/?http://OWN/", "https://other.test/?http://OWN/"],
  ["Location", "http://OWN@other.test/", "http://OWN@other.test/"],
  ["Content-Location", "http://OWN/a", "http://in.testPREFIX/a"],
  ["Refresh", "5; url=http://OWN/a", "5; url=http://in.testPREFIX/a"],
  ["Refresh", "0;URL='/a'", "0;URL='PREFIX/a'"],
  ["Refresh", "5", "5"],
  [
    "Link",
    '</a>; rel=preload, <b>; title="</c>", <http://OWN/d>',
    '<PREFIX/a>; rel=preload, <b>; title="</c>", <http://in.testPREFIX/d>',
  ],
  ["Link", `</a>; t="${'\\"'.repeat(30_000)}`, `<PREFIX/a>; t="${'\\"'.repeat(30_000)}`],
  ["Access-Control-Allow-Origin", "http://OWN", "http://in.test"],
  ["Access-Control-Allow-Origin", "*", "*"],
  ["Access-Control-Allow-Origin", "https://other.test", "https://other.test"],
  ["Set-Cookie", "a=b", "a=b"],
  ["Set-Cookie", "a=b; Path=/x; HttpOnly", "a=b; Path=PREFIX/x; HttpOnly"],
  ["Set-Cookie", "a=b;path=/", "a=b; Path=PREFIX/"],
  ["Set-Cookie", "a=b; Path=PREFIX/x", "a=b; Path=PREFIX/x"],
  ["Set-Cookie", "a=b; Domain=127.0.0.1; Secure", "a=b; Secure"],
  ["Set-Cookie", "a=b; Domain=.TEST", "a=b"],
  ["Set-Cookie", "a=b; Domain=in.test", "a=b"],
  ["Set-Cookie", "a=b; Domain=.IN.test.; Secure", "a=b; Secure"],
  ["Set-Cookie", "a=b; Domain=other.test", "a=b; Domain=other.test"],
  ["Set-Cookie", "a=b; Domain=test.", "a=b"],
  ["Set-Cookie", "a=b; Domain=..test", "a=b"],
  ["Set-Cookie", "a=b; DOMAIN\t=\tTest; Path=/", "a=b; Path=PREFIX/"],
  [
    "Set-Cookie",
    "a=b; Domain=other.test; Domain=test; Path=/; path=/y",
    "a=b; Domain=other.test; Path=PREFIX/; Path=PREFIX/y",
  ],
  ["Set-Cookie", "__Host-a=b; Path=/; Secure", "__Host-a=b; Path=/; Secure"],
  ["Set-Cookie", "__Host-a=b; Path=/; Secure; Domain=test", "__Host-a=b; Path=/; Secure"],
  ["Set-Cookie", "__host-a=b; Domain=.test; Path=/", "__host-a=b; Path=/"],
  ["Set-Cookie", "__Secure-a=b; Domain=test; Path=/; Secure", "__Secure-a=b; Path=PREFIX/; Secure"],
];

describe("rewriteAnswerUrls", () => {
  test.each(IN_URI_FORM)("rewriteAnswerUrls in the URI form: %s: %.60s", async (name, said, expected) => {
    const fill = (text: string): string => text.replaceAll("OWN", own).replaceAll("PREFIX", prefix);
    answerLines = [`${name}: ${fill(said)}`];
    expect(headerValues(await getByUri(`${prefix}/x`), name)).toEqual([fill(expected)]);
  });

  test.each([
    ["/", ["PREFIX/"], []],
    ["/app/", ["PREFIX/app/"], []],
    ["PREFIX/app/", ["PREFIX/app/"], ["PREFIX/app/"]],
    ["/../../", ["PREFIX/"], []],
    ["PREFIX/../../other/80/", ["PREFIX/other/80/"], []],
    ["PREFIX/%2e%2E/..\\x/", ["PREFIX/x/"], []],
    ["PREFIXx/", ["PREFIXPREFIXx/"], []],
    ["../../../", ["PREFIX/"], []],
    ["//in.test/", [], []],
    ["http://in.test/", [], []],
    ["http://[", [], []],
  ])("rewriteWorkerScope lets no worker answer for other sandboxes: %s", async (said, strip, keep) => {
    const fill = (text: string): string => text.replaceAll("PREFIX", prefix);
    answerLines = [`Service-Worker-Allowed: ${fill(said)}`];
    const allowed = async () => headerValues(await getByUri(`${prefix}/sw.js`), "service-worker-allowed");
    expect(await allowed()).toEqual(strip.map(fill));
    expect(headerValues(await getByHost(), "service-worker-allowed")).toEqual([fill(said)]);
    setPolicy({ uriPrefix: "keep" });
    expect(await allowed()).toEqual(keep.map(fill));
  });

  test("rewriteAnswerUrls in the host form names the client's origin, and leaves paths alone", async () => {
    answerLines = [
      `Location: http://${own}/a`,
      "Content-Location: /a",
      "Set-Cookie: a=b; Path=/; Domain=example.test",
      "Set-Cookie: c=d; Path=/x",
    ];
    const answer = await getByHost();
    expect(headerValues(answer, "location")).toEqual([`http://${hostName()}/a`]);
    expect(headerValues(answer, "content-location")).toEqual(["/a"]);
    expect(headerValues(answer, "set-cookie")).toEqual(["a=b; Path=/", "c=d; Path=/x"]);
  });

  test("rewriteCookies: what is routed by header sets no cookie for the sandboxes below the gateway's own name", async () => {
    answerLines = ["Set-Cookie: a=b; Path=/; Domain=gw.test", "Set-Cookie: c=d; Domain=test"];
    const lines = ["GET /x HTTP/1.1", "Host: gw.test", `OpenSandbox-Ingress-To: sb-${upstream.port}`, "", ""];
    const answer = await rawRequest(byHost.port, lines.join("\r\n"));
    expect(headerValues(answer, "set-cookie")).toEqual(["a=b; Path=/", "c=d"]);
  });

  test("rewriteAnswerUrls keeps a Domain with --cookie-domain keep", async () => {
    const browser = { ...DEFAULT_BROWSER, cookieDomain: "keep" } as const;
    await using proxy = startProxy({ mode: "uri", browser }, { provider: byHost.provider });
    answerLines = ["Set-Cookie: a=b; Domain=test"];
    expect(headerValues(await getByUri(`${prefix}/x`, [], proxy), "set-cookie")).toEqual(["a=b; Domain=test"]);
  });

  test("rewriteAnswerUrls keeps the client inside a signed prefix, whose credential no cookie carries", async () => {
    const plain = `/locked/${upstream.port}`;
    for (const said of ["/a", `${plain}/a`, `${signed}/a`]) {
      answerLines = [`Location: ${said}`, "Set-Cookie: a=b; Path=/"];
      const answer = await getByUri(`${signed}/x`);
      expect(headerValues(answer, "location")).toEqual([`${signed}/a`]);
      expect(headerValues(answer, "set-cookie")).toEqual([`a=b; Path=${plain}/`]);
    }
  });

  test("rewriteAnswerUrls uses a trusted proxy's prefix, host and scheme", async () => {
    answerLines = [`Location: http://${own}/a`];
    const lines = ["X-Forwarded-Host: public.test", "X-Forwarded-Proto: https", "X-Forwarded-Prefix: /out/"];
    const told = await getByUri(`${prefix}/x`, lines, trusting);
    expect(headerValues(told, "location")).toEqual([`https://public.test/out${prefix}/a`]);
    expect(headerValues(await getByUri(`${prefix}/x`, lines), "location")).toEqual([`http://in.test${prefix}/a`]);
  });

  test("rewriteAnswerUrls writes only a path for a client without Host", async () => {
    answerLines = [`Location: http://${own}/a`];
    const answer = await rawRequest(byUri.port, `GET ${prefix}/x HTTP/1.0\r\n\r\n`);
    expect(headerValues(answer, "location")).toEqual([`${prefix}/a`]);
  });
});
