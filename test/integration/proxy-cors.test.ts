import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";

import { parseAccessKeys } from "../../src/access/keys.ts";
import { signRoute } from "../../src/access/signature.ts";
import { formatUriRoute } from "../../src/route/format-route.ts";
import { DEFAULT_BROWSER, type ProxyHarness, startProxy } from "../../scripts/lib/stage/proxy-harness.ts";
import { headerValues, type RawAnswer, rawRequest } from "../../scripts/lib/stage/raw-client.ts";
import { ACCESS_KEYS } from "../support/access-stage.ts";
import { type RawUpstream, startRawUpstream } from "../support/raw-upstream.ts";

const APP = "https://app.example.com";
const ALLOWED = [APP, "https://*.example.org", "http://*.example.net:8080", "chrome-extension://abcdef"];
/** By what answers vary in the header form, whatever CORS says. */
const ROUTE_HEADERS = "OpenSandbox-Ingress-To, OPEN-SANDBOX-INGRESS";
const INGRESS_HEADERS = "OpenSandbox-Ingress-To, OpenSandbox-Secure-Access, OpenSandbox-Access-Renew";

let upstream: RawUpstream;
/** Header lines of the sandbox's answers. */
let answerLines: readonly string[] = [];
let byHeader: ProxyHarness;
let byUri: ProxyHarness;
/** Without `--cors-origins`. */
let without: ProxyHarness;
let signed: string;

beforeAll(async () => {
  upstream = await startRawUpstream((socket) => {
    const lines = answerLines.map((line) => `${line}\r\n`).join("");
    socket.write(`HTTP/1.1 200 OK\r\n${lines}Content-Length: 2\r\n\r\nok`, "latin1");
  });
  const browser = { ...DEFAULT_BROWSER, corsOrigins: ALLOWED };
  byHeader = startProxy({ browser });
  const { provider } = byHeader;
  byUri = startProxy({ mode: "uri", browser }, { provider, accessKeys: ACCESS_KEYS });
  without = startProxy({}, { provider });
  provider.set({ name: "sb" });
  provider.set({ name: "locked", accessToken: "token" });
  const target = { sandboxId: "locked", port: upstream.port, expiresB36: "zzzzzzz" };
  signed = formatUriRoute({ ...target, signature: signRoute(parseAccessKeys(ACCESS_KEYS), "a", target) });
});

beforeEach(() => {
  answerLines = [];
});

afterAll(async () => {
  for (const harness of [byHeader, byUri, without]) await harness[Symbol.asyncDispose]();
  await upstream[Symbol.asyncDispose]();
});

interface Ask {
  readonly method?: string;
  readonly path?: string;
  readonly host?: string;
  readonly from?: ProxyHarness;
}

function ask(lines: readonly string[], options: Ask = {}): Promise<RawAnswer> {
  const { method = "GET", path = "/x", host = "gateway.test", from = byHeader } = options;
  return rawRequest(from.port, [`${method} ${path} HTTP/1.1`, `Host: ${host}`, ...lines, "", ""].join("\r\n"));
}

const routeTo = (name: string): string => `OpenSandbox-Ingress-To: ${name}-${upstream.port}`;

/** The preflight of a page for a request with these headers. */
function preflight(options: Ask & { origin?: string; asked?: string; asks?: string } = {}): Promise<RawAnswer> {
  const { origin = APP, asked = "content-type,opensandbox-ingress-to", asks = "PUT", ...rest } = options;
  const lines = [`Origin: ${origin}`, `Access-Control-Request-Method: ${asks}`];
  return ask([...lines, `Access-Control-Request-Headers: ${asked}`], { ...rest, method: "OPTIONS" });
}

/** Everything that an answer says about CORS. */
function cors(answer: RawAnswer): Record<string, string> {
  return Object.fromEntries(answer.headers.filter(([name]) => name.startsWith("access-control-")));
}

describe("answers and --cors-origins", () => {
  test("addCors names the origin in answers and refusals, and allows no cookies", async () => {
    const answer = await ask([routeTo("sb"), `Origin: ${APP}`]);
    expect([answer.status, cors(answer)]).toEqual([200, { "access-control-allow-origin": APP }]);
    expect(headerValues(answer, "vary")).toEqual([`Origin, ${ROUTE_HEADERS}`]);
    for (const [name, status] of [
      ["none", 404],
      ["locked", 401],
    ] as const) {
      const refusal = await ask([routeTo(name), `Origin: ${APP}`]);
      expect([refusal.status, cors(refusal)]).toEqual([status, { "access-control-allow-origin": APP }]);
      expect(headerValues(refusal, "vary")).toEqual(["Accept, Sec-Fetch-Mode, Origin"]);
    }
  });

  test("addCors names the origin in answers to failures behind the ingress too", async () => {
    byHeader.provider.set({ name: "away" });
    const closed = await startRawUpstream("");
    await closed[Symbol.asyncDispose]();
    const answer = await ask([`OpenSandbox-Ingress-To: away-${closed.port}`, `Origin: ${APP}`]);
    expect([answer.status, cors(answer)]).toEqual([503, { "access-control-allow-origin": APP }]);
  });

  test("addCors names the client's origin even if the sandbox sees another", async () => {
    const own = `sb-${upstream.port}.example.org`;
    byHeader.provider.set({ name: "sb", policy: { originHeader: "upstream" } });
    const answer = await ask([`Origin: https://${own}`], { host: own });
    expect(cors(answer)).toEqual({ "access-control-allow-origin": `https://${own}` });
    byHeader.provider.set({ name: "sb" });
  });

  test.each([
    "Access-Control-Allow-Origin: *",
    "Access-Control-Allow-Origin: https://other.test",
    "Access-Control-Allow-Credentials: true",
    "Access-Control-Expose-Headers: x",
    "access-control-max-age: 5",
  ])("rewriteAnswerUrls adds nothing to an answer with %s", async (line) => {
    answerLines = [line];
    const answer = await ask([routeTo("sb"), `Origin: ${APP}`]);
    const [name = "", value = ""] = line.toLowerCase().split(": ");
    expect([cors(answer), headerValues(answer, "vary")]).toEqual([{ [name]: value }, [ROUTE_HEADERS]]);
  });

  test.each([
    ["Vary: Accept", [`Accept, Origin, ${ROUTE_HEADERS}`]],
    ["Vary: accept, origin", [`accept, origin, ${ROUTE_HEADERS}`]],
    ["Vary: *", ["*"]],
  ])("addCors adds to %s what is missing", async (line, expected) => {
    answerLines = [line];
    expect(headerValues(await ask([routeTo("sb"), `Origin: ${APP}`]), "vary")).toEqual(expected);
  });

  test("addCors tells caches that another origin may get another answer", async () => {
    for (const lines of [[], ["Origin: https://evil.test"]]) {
      const answer = await ask([routeTo("sb"), ...lines]);
      expect([cors(answer), headerValues(answer, "vary")]).toEqual([{}, [`Origin, ${ROUTE_HEADERS}`]]);
    }
  });

  test("RequestHandler says nothing about CORS without the flag", async () => {
    for (const name of ["sb", "none"]) {
      const answer = await ask([routeTo(name), `Origin: ${APP}`], { from: without });
      expect(cors(answer)).toEqual({});
      expect(headerValues(answer, "vary").join("")).not.toContain("Origin");
    }
    expect((await preflight({ from: without })).status).toBe(400);
  });
});

describe("createCorsPolicy", () => {
  test.each([
    "https://app.example.com",
    "https://APP.example.com",
    "https://a.example.org",
    "https://a.b.example.org",
    "http://a.example.net:8080",
    "chrome-extension://abcdef",
  ])("createCorsPolicy allows %s", async (origin) => {
    const answer = await ask([routeTo("sb"), `Origin: ${origin}`]);
    expect(cors(answer)).toEqual({ "access-control-allow-origin": origin });
  });

  test.each([
    "null",
    "*",
    "",
    "http://app.example.com",
    "https://app.example.com:8443",
    "https://app.example.com.",
    "https://app.example.com.evil.test",
    "https://app.example.com/",
    "https://app.example.com, https://app.example.com",
    "https://xapp.example.com",
    "https://example.org",
    "https://.example.org",
    "https://evilexample.org",
    "https://a.example.org.evil.test",
    "https://a.example.org:8443",
    "http://a.example.org",
    "https://evil.test/.example.org",
    "https://evil.test#.example.org",
    "https://evil.test?.example.org",
    "https://evil.test\\.example.org",
    "https://user@a.example.org",
    "https://evil.test:443.example.org",
    "https://a b.example.org",
    "http://a.example.net",
    "http://a.example.net:80808080",
    "chrome-extension://abcdefg",
    `https://${"a".repeat(300)}.example.org`,
  ])("createCorsPolicy does not allow %s", async (origin) => {
    expect(cors(await ask([routeTo("sb"), `Origin: ${origin}`]))).toEqual({});
    expect((await preflight({ origin })).status).toBe(400);
  });
});

describe("answerPreflight", () => {
  const granted = (names: string): Record<string, string> => ({
    "access-control-allow-origin": APP,
    "access-control-allow-methods": "PUT",
    "access-control-allow-headers": names,
    "access-control-max-age": "600",
  });

  test("answerPreflight allows the requested method and headers if the preflight has no route", async () => {
    const seen = upstream.requests.length;
    for (const host of ["gateway.test", "my-gateway.test", "10.0.0.1", "none-80.test"]) {
      const answer = await preflight({ host });
      const names = "content-type, opensandbox-ingress-to, OpenSandbox-Secure-Access, OpenSandbox-Access-Renew";
      expect([answer.status, cors(answer), answer.body]).toEqual([204, granted(names), ""]);
      expect(headerValues(answer, "vary")).toEqual([
        "Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
      ]);
    }
    expect(upstream.requests).toHaveLength(seen);
  });

  test("answerPreflight gives the same answer for a secured sandbox and a missing one", async () => {
    const { port } = upstream;
    for (const path of [`/locked/${port}/x`, `/none/${port}/x`, "/x", signed.replace("/zzzzzzz/", "/1/")]) {
      const answer = await preflight({ path, from: byUri, asked: "" });
      expect([answer.status, cors(answer)]).toEqual([204, granted(INGRESS_HEADERS)]);
    }
    for (const name of ["locked", "none"]) {
      expect((await preflight({ host: `${name}-${port}.test` })).status).toBe(204);
    }
  });

  test("answerPreflight leaves the answer to a sandbox that the request may enter", async () => {
    answerLines = ["Access-Control-Allow-Origin: *", "Access-Control-Allow-Methods: GET"];
    for (const options of [{ host: `sb-${upstream.port}.test` }, { path: `${signed}/x`, from: byUri }]) {
      const answer = await preflight(options);
      expect([answer.status, cors(answer)]).toEqual([
        200,
        { "access-control-allow-origin": "*", "access-control-allow-methods": "GET" },
      ]);
    }
  });

  test("answerPreflight refuses requests that are not preflights, and floods of names", async () => {
    const origin = `Origin: ${APP}`;
    expect((await ask([origin], { method: "OPTIONS" })).status).toBe(400);
    expect((await ask(["Access-Control-Request-Method: PUT"], { method: "OPTIONS" })).status).toBe(400);
    expect((await ask([origin, "Access-Control-Request-Method: PUT"], { method: "GET" })).status).toBe(400);
    for (const asked of ["a b", "a:b", 'a"', "x".repeat(129), "a,".repeat(64), `${"x".repeat(100)},`.repeat(21)]) {
      expect((await preflight({ asked })).status).toBe(400);
    }
    for (const asks of ["", "A B", "GET, PUT", "X".repeat(129)]) expect((await preflight({ asks })).status).toBe(400);
    expect((await preflight({ asked: "a,".repeat(63) })).status).toBe(204);
  });

  test("answerPreflight is reported like any other answer, without a code", async () => {
    const before = byHeader.accessLog.length;
    const answer = await preflight();
    expect(byHeader.accessLog).toHaveLength(before + 1);
    const expected = { method: "OPTIONS", status: 204, form: "none", code: undefined, sandboxId: undefined };
    expect(byHeader.accessLog.at(-1)).toMatchObject(expected);
    expect(headerValues(answer, "x-request-id")).toEqual([byHeader.accessLog.at(-1)?.requestId ?? ""]);
  });
});
