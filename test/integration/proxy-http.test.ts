import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { gzipSync } from "node:zlib";

import { type ProxyHarness, startProxy } from "../../scripts/lib/stage/proxy-harness.ts";
import { headerValues, openRaw, type RawAnswer, rawRequest } from "../../scripts/lib/stage/raw-client.ts";
import { headerOf, type RawUpstream, startRawUpstream } from "../support/raw-upstream.ts";

/** The answers of the raw upstream, by path. */
const ANSWERS: Readonly<Record<string, string>> = {
  "/plain": "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello",
  "/no-type": "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
  "/chunked":
    "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
  "/empty": "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 0\r\n\r\n",
  "/204": "HTTP/1.1 204 No Content\r\nX-A: 1\r\n\r\n",
  "/304": 'HTTP/1.1 304 Not Modified\r\nETag: "x"\r\nContent-Length: 50\r\n\r\n',
  "/206":
    "HTTP/1.1 206 Partial Content\r\nContent-Type: a/b\r\nContent-Range: bytes 0-1/9\r\nContent-Length: 2\r\n\r\nok",
  "/302": "HTTP/1.1 302 Found\r\nLocation: http://elsewhere.test/x\r\nContent-Length: 0\r\n\r\n",
  "/cookies":
    "HTTP/1.1 200 OK\r\nSet-Cookie: a=1; Path=/\r\nSet-Cookie: b=2, c\r\nContent-Type: t/x\r\nContent-Length: 0\r\n\r\n",
  "/own":
    "HTTP/1.1 200 OK\r\nDate: Mon, 01 Jan 2001 00:00:00 GMT\r\nServer: mine\r\nReverse-Proxy-Server-PowerBy: x\r\nContent-Type: t/x\r\nContent-Length: 0\r\n\r\n",
  "/hop":
    "HTTP/1.1 200 OK\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nX-Kept: 1\r\nContent-Type: t/x\r\nContent-Length: 0\r\n\r\n",
  "/teapot": "HTTP/1.1 418 I'm a teapot\r\nContent-Type: t/x\r\nContent-Length: 2\r\n\r\nno",
};

let upstream: RawUpstream;
let proxy: ProxyHarness;
let uriProxy: ProxyHarness;

beforeAll(async () => {
  upstream = await startRawUpstream((socket, request) => {
    const path = request.line.split(" ")[1]?.split("?")[0] ?? "";
    const answer = ANSWERS[path] ?? ANSWERS["/plain"] ?? "";
    const isHead = request.line.startsWith("HEAD ");
    socket.write(isHead ? answer.slice(0, answer.indexOf("\r\n\r\n") + 4) : answer, "latin1");
  });
  proxy = startProxy();
  proxy.provider.set({ name: "sb" });
  uriProxy = startProxy({ mode: "uri" }, { provider: proxy.provider });
});

afterAll(async () => {
  await proxy[Symbol.asyncDispose]();
  await uriProxy[Symbol.asyncDispose]();
  await upstream[Symbol.asyncDispose]();
});

function get(path: string, extra = ""): Promise<RawAnswer> {
  return rawRequest(
    proxy.port,
    `GET ${path} HTTP/1.1\r\nHost: h.test\r\nOpenSandbox-Ingress-To: sb-${upstream.port}\r\n${extra}\r\n`,
  );
}

const lastRequest = () => upstream.requests.at(-1);

describe("routing", () => {
  test("RequestHandler routes by header, by host and by path to the same sandbox", async () => {
    const requests: readonly (readonly [ProxyHarness, string])[] = [
      [proxy, `GET /plain HTTP/1.1\r\nHost: x\r\nOpenSandbox-Ingress-To: sb-${upstream.port}\r\n\r\n`],
      [proxy, `GET /plain HTTP/1.1\r\nHost: x\r\nOPEN-SANDBOX-INGRESS: sb-${upstream.port}\r\n\r\n`],
      [proxy, `GET /plain HTTP/1.1\r\nHost: SB-${upstream.port}.apps.test:80\r\n\r\n`],
      [uriProxy, `GET /sb/${upstream.port}/plain HTTP/1.1\r\nHost: x\r\n\r\n`],
    ];
    for (const [harness, request] of requests) {
      const answer = await rawRequest(harness.port, request);
      expect([answer.status, answer.body]).toEqual([200, "hello"]);
      expect(lastRequest()?.line).toBe("GET /plain HTTP/1.1");
      expect(headerOf(lastRequest(), "host")).toBe(`127.0.0.1:${upstream.port}`);
    }
    expect(headerOf(lastRequest(), "x-forwarded-prefix")).toBe(`/sb/${upstream.port}`);
  });

  test("RequestHandler forwards path and query byte for byte", async () => {
    const target = "/a//b/%2F%20;x=1/:@!$&()*+,=~?q=%2F&q=a+b&q=%e4&glob=*.{ts,js}&empty=&x=/../y?z";
    await get(target);
    expect(lastRequest()?.line).toBe(`GET ${target} HTTP/1.1`);
    await rawRequest(uriProxy.port, `GET /sb/${upstream.port}/x//?a=1?b HTTP/1.1\r\nHost: x\r\n\r\n`);
    expect(lastRequest()?.line).toBe("GET /x//?a=1?b HTTP/1.1");
  });

  test("RequestHandler turns several slashes at the beginning into one, as fetch does, and logs what it sends", async () => {
    await get("//x//y");
    expect(lastRequest()?.line).toBe("GET /x//y HTTP/1.1");
    await rawRequest(uriProxy.port, `GET /sb/${upstream.port}///x HTTP/1.1\r\nHost: x\r\n\r\n`);
    expect(lastRequest()?.line).toBe("GET /x HTTP/1.1");
  });

  test.each([
    ["a Host", "HTTP/1.1\r\nHost: x"],
    ["an empty Host", "HTTP/1.1\r\nHost:"],
    ["no Host", "HTTP/1.0"],
    ["an invalid port", "HTTP/1.1\r\nHost: x:99999"],
    ["an invalid address", "HTTP/1.1\r\nHost: 1.2.3.4.5"],
    ["an invalid IPv6 address", "HTTP/1.1\r\nHost: [:::]"],
    ["an invalid punycode", "HTTP/1.1\r\nHost: xn--a"],
  ])("handler routes by the path that it sends, or refuses: %s", async (_name, head) => {
    proxy.provider.set({ name: "other" });
    const seen = upstream.requests.length;
    const target = `/sb/${upstream.port}/../../other/${upstream.port}/a/%2e%2e/b\\c?d=/../e`;
    const { status } = await rawRequest(uriProxy.port, `GET ${target} ${head}\r\n\r\n`);
    const requests = upstream.requests.slice(seen);
    if (status === 400) return expect(requests).toEqual([]);
    expect(status).toBe(200);
    expect(requests.map(({ line }) => line)).toEqual(["GET /b/c?d=/../e HTTP/1.1"]);
    expect(headerOf(requests[0], "x-forwarded-prefix")).toBe(`/other/${upstream.port}`);
  });

  test("handler forwards the empty rest of a URI route as /", async () => {
    for (const rest of ["", "/"]) {
      await rawRequest(uriProxy.port, `GET /sb/${upstream.port}${rest} HTTP/1.1\r\nHost: x\r\n\r\n`);
      expect(lastRequest()?.line).toBe("GET / HTTP/1.1");
    }
  });
});

describe("request headers", () => {
  test("RequestHandler sends end-to-end headers as they are, and adds only its own", async () => {
    await get(
      "/plain",
      [
        "Authorization: Bearer t",
        "Cookie: a=1; b=2",
        "X-EXECD-ACCESS-TOKEN: e",
        "OPENSANDBOX-EGRESS-AUTH: g",
        "OpenSandbox-Secure-Access: secret",
        "OpenSandbox-Access-Renew: skip",
        "Accept-Encoding: gzip",
        "Connection: close, X-Named",
        "X-Named: gone",
        "TE: trailers",
        "Upgrade: h2c",
        "X-Forwarded-For: 6.6.6.6",
        "",
      ].join("\r\n"),
    );
    const names = (lastRequest()?.headerLines ?? []).map((line) => line.slice(0, line.indexOf(":")).toLowerCase());
    expect(new Set(names)).toEqual(
      new Set([
        "accept",
        "accept-encoding",
        "authorization",
        "cdn-loop",
        "connection",
        "cookie",
        "host",
        "opensandbox-egress-auth",
        "user-agent",
        "x-execd-access-token",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
        "x-request-id",
      ]),
    );
    expect(names).toHaveLength(14);
    expect(headerOf(lastRequest(), "user-agent")).toBe("");
    expect(headerOf(lastRequest(), "accept")).toBe("*/*");
    expect(headerOf(lastRequest(), "connection")).toBe("keep-alive");
    expect(headerOf(lastRequest(), "x-forwarded-for")).toBe("127.0.0.1");
    expect(headerOf(lastRequest(), "x-forwarded-host")).toBe("h.test");
  });
});

describe("answers", () => {
  test("relayAnswer keeps Content-Length and body of a small answer, and invents no Content-Type", async () => {
    const plain = await get("/plain");
    expect(plain.body).toBe("hello");
    expect(headerValues(plain, "content-length")).toEqual(["5"]);
    const untyped = await get("/no-type");
    expect(untyped.body).toBe("hello");
    expect(headerValues(untyped, "content-type")).toEqual([]);
    const empty = await get("/empty");
    expect(headerValues(empty, "content-length")).toEqual(["0"]);
    expect((await get("/chunked")).body).toBe("hello");
  });

  test("relayAnswer passes 204, 206, 302, 304 and unknown statuses on unchanged", async () => {
    const noContent = await get("/204");
    expect([noContent.status, noContent.body, headerValues(noContent, "content-length")]).toEqual([204, "", []]);
    const notModified = await get("/304");
    expect([notModified.status, headerValues(notModified, "content-length")]).toEqual([304, ["50"]]);
    const partial = await get("/206", "Range: bytes=0-1\r\n");
    expect([partial.status, partial.body, headerValues(partial, "content-range")]).toEqual([
      206,
      "ok",
      ["bytes 0-1/9"],
    ]);
    expect(headerOf(lastRequest(), "range")).toBe("bytes=0-1");
    const redirect = await get("/302");
    expect([redirect.status, headerValues(redirect, "location")]).toEqual([302, ["http://elsewhere.test/x"]]);
    expect((await get("/teapot")).status).toBe(418);
  });

  test("relayAnswer answers HEAD with the length of the GET, or chunked if that is unknown", async () => {
    const head = async (path: string) =>
      rawRequest(
        proxy.port,
        `HEAD ${path} HTTP/1.1\r\nHost: x\r\nOpenSandbox-Ingress-To: sb-${upstream.port}\r\n\r\n`,
        { head: true },
      );
    expect(headerValues(await head("/plain"), "content-length")).toEqual(["5"]);
    const chunked = await head("/chunked");
    expect(headerValues(chunked, "content-length")).toEqual([]);
    expect(headerValues(chunked, "transfer-encoding")).toEqual(["chunked"]);
  });

  test("rewriteResponseHeaders keeps cookies apart, Date and Server, and is named exactly once", async () => {
    expect(headerValues(await get("/cookies"), "set-cookie")).toEqual(["a=1; Path=/", "b=2, c"]);
    const own = await get("/own");
    expect(headerValues(own, "date")).toEqual(["Mon, 01 Jan 2001 00:00:00 GMT"]);
    expect(headerValues(own, "server")).toEqual(["mine"]);
    expect(headerValues(own, "reverse-proxy-server-powerby")).toEqual(["OpenSandbox-ingress"]);
  });

  test("rewriteResponseHeaders removes hop-by-hop headers and those named in Connection", async () => {
    const answer = await get("/hop");
    expect(headerValues(answer, "x-hop")).toEqual([]);
    expect(headerValues(answer, "keep-alive")).toEqual([]);
    expect(headerValues(answer, "connection")).toEqual([]);
    expect(headerValues(answer, "x-kept")).toEqual(["1"]);
  });

  test("forwardRequest does not change a compressed body", async () => {
    const zipped = gzipSync("hello ".repeat(1000));
    using gzip = Bun.serve({
      port: 0,
      hostname: "127.0.0.1",
      fetch: () => new Response(zipped, { headers: { "Content-Encoding": "gzip", "Content-Type": "t/x" } }),
    });
    const answer = await rawRequest(
      proxy.port,
      `GET / HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\nOpenSandbox-Ingress-To: sb-${gzip.port}\r\n\r\n`,
    );
    expect(headerValues(answer, "content-encoding")).toEqual(["gzip"]);
    expect(Buffer.from(answer.body, "latin1").equals(zipped)).toBe(true);
  });

  test("RequestHandler answers /status.ok in both modes, and nothing else of that name", async () => {
    for (const harness of [proxy, uriProxy]) {
      const answer = await rawRequest(harness.port, "GET /status.ok HTTP/1.1\r\nHost: x\r\n\r\n");
      expect([answer.status, answer.body]).toEqual([200, "OK"]);
      const other = await rawRequest(harness.port, "GET /status.ok/x HTTP/1.1\r\nHost: x\r\n\r\n");
      expect(other.status).toBe(400);
    }
  });
});

describe("the last request of a connection", () => {
  const last = (path: string, route: string): Promise<RawAnswer> =>
    rawRequest(proxy.port, `GET ${path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n${route}\r\n`);
  const toSandbox = (): string => `OpenSandbox-Ingress-To: sb-${upstream.port}\r\n`;

  test("rewriteResponseHeaders sends Connection: close only to a client that sent it", async () => {
    expect(headerValues(await last("/plain", toSandbox()), "connection")).toEqual(["close"]);
    expect(headerValues(await get("/plain"), "connection")).toEqual([]);
  });

  test("buildRefusal and the answer to /status.ok send it too", async () => {
    expect(headerValues(await last("/plain", ""), "connection")).toEqual(["close"]);
    expect(headerValues(await last("/plain", "OpenSandbox-Ingress-To: nobody-80\r\n"), "connection")).toEqual([
      "close",
    ]);
    expect(headerValues(await last("/plain", "OpenSandbox-Ingress-To: sb-1\r\n"), "connection")).toEqual(["close"]);
    expect(headerValues(await last("/status.ok", ""), "connection")).toEqual(["close"]);
  });
});

describe("request bodies", () => {
  const post = (extra: string, body: string, method = "POST") =>
    rawRequest(
      proxy.port,
      `${method} /plain HTTP/1.1\r\nHost: x\r\nOpenSandbox-Ingress-To: sb-${upstream.port}\r\n${extra}\r\n${body}`,
    );

  test("readRequestBody sends a body of known length with that length", async () => {
    for (const method of ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"]) {
      expect((await post("Content-Length: 5\r\n", "hello", method)).status).toBe(200);
      expect(lastRequest()?.line).toBe(`${method} /plain HTTP/1.1`);
      expect(lastRequest()?.body).toBe("hello");
      expect(headerOf(lastRequest(), "content-length")).toBe("5");
    }
  });

  test("readRequestBody sends a chunked body chunked, and a missing one as empty", async () => {
    expect((await post("Transfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n")).status).toBe(200);
    expect(headerOf(lastRequest(), "transfer-encoding")).toBe("chunked");
    expect(lastRequest()?.body).toBe("5\r\nhello\r\n0\r\n\r\n");
    expect((await post("Content-Length: 0\r\n", "")).status).toBe(200);
    expect(headerOf(lastRequest(), "content-length")).toBe("0");
    expect((await post("", "")).status).toBe(200);
  });

  test("readRequestBody answers Expect: 100-continue and does not forward it", async () => {
    const connection = await openRaw(proxy.port);
    connection.write(
      `POST /plain HTTP/1.1\r\nHost: x\r\nOpenSandbox-Ingress-To: sb-${upstream.port}\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n`,
    );
    await connection.until((text) => text.includes("100 Continue"));
    connection.write("hello");
    expect((await connection.readAnswer()).status).toBe(200);
    expect(lastRequest()?.body).toBe("hello");
    expect(headerOf(lastRequest(), "expect")).toBeUndefined();
    connection.destroy();
  });

  test.each([
    ["a body on GET", "GET", "Content-Length: 1\r\n", "x", 400],
    ["a chunked body on HEAD", "HEAD", "Transfer-Encoding: chunked\r\n", "1\r\nx\r\n0\r\n\r\n", 400],
    ["two equal Content-Lengths", "POST", "Content-Length: 1\r\nContent-Length: 1\r\n", "x", 400],
    ["TRACE", "TRACE", "", "", 405],
  ])("RequestHandler refuses %s before the sandbox sees anything", async (_name, method, extra, body, status) => {
    const before = upstream.requests.length;
    const answer = await rawRequest(
      proxy.port,
      `${method} /plain HTTP/1.1\r\nHost: x\r\nOpenSandbox-Ingress-To: sb-${upstream.port}\r\n${extra}\r\n${body}`,
      { head: method === "HEAD" },
    );
    expect(answer.status).toBe(status);
    expect(upstream.requests.length).toBe(before);
  });

  test("RequestHandler treats Content-Length: 0 on GET as a missing body", async () => {
    expect((await get("/plain", "Content-Length: 0\r\n")).status).toBe(200);
  });
});
