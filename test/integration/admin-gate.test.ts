import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "bun:test";
import { type AdminToken, createAdminToken } from "../../src/access/admin-token.ts";
import { type AdminServer, createAdminServer } from "../../src/admin/admin-server.ts";
import { buildJson } from "../../src/admin/admin-answers.ts";
import { createAdminGate, GUESS_BURST, GUESS_LEAK_MS } from "../../src/admin/gate.ts";
import { systemClock } from "../../src/clock.ts";
import { type LogFields, silentLogger } from "../../src/log/logger.ts";
import { eventually } from "../../scripts/lib/eventually.ts";
import { openRaw } from "../../scripts/lib/stage/raw-client.ts";
import { createFakeClock } from "../../scripts/lib/stage/fake-clock.ts";
import { type AskOptions, askRaw } from "../support/ask-raw.ts";
import { tempDir } from "../support/temp-dir.ts";

const TOKEN = "0123456789abcdef-and-more";
/** An address that is this machine's, but not the one that a port forward has. */
const OTHER_PEER = "127.0.0.2";

const dir = tempDir();
const tokenFile = join(dir.path, "token");
const clock = createFakeClock();
const lines: string[] = [];
const log = (level: string) => (message: string, fields?: LogFields) =>
  void lines.push(`${level} ${message} ${JSON.stringify(fields)}`);
const logger = { ...silentLogger, info: log("info"), warn: log("warn"), error: log("error") };

interface Stage {
  readonly port: number;
  readonly server: AdminServer;
  readonly token: AdminToken;
}
let withToken: Stage;
let withoutToken: Stage;

async function startStage(file: string | undefined): Promise<Stage> {
  const token = createAdminToken({ file, logger, clock: systemClock });
  await token.start();
  const server = createAdminServer({
    host: "::",
    port: 0,
    metrics: { scrape: () => Promise.resolve("x 1\n") },
    checks: () => [],
    gate: createAdminGate({ token, clock, logger }),
    debugPages: [
      { path: "/debug/secrets", title: "a page", method: "GET", answer: () => buildJson({ secret: true }) },
      { path: "/debug/act", title: "an act", method: "POST", answer: () => buildJson({ done: true }) },
    ],
    logger: silentLogger,
  });
  return { ...(await server.start()), server, token };
}

beforeAll(async () => {
  writeFileSync(tokenFile, `${TOKEN}\n`);
  withToken = await startStage(tokenFile);
  withoutToken = await startStage(undefined);
});
afterAll(async () => {
  for (const { server, token } of [withToken, withoutToken]) {
    token.stop();
    await server.stop();
  }
  dir[Symbol.dispose]();
});
beforeEach(() => {
  // Everything that was guessed is forgiven.
  clock.advance(GUESS_BURST * GUESS_LEAK_MS);
  lines.length = 0;
});

const ask = (options: AskOptions = {}, path = "/debug/secrets") => askRaw(withToken.port, path, options);
const askClosed = (options: AskOptions = {}, path = "/debug/secrets") => askRaw(withoutToken.port, path, options);
const bearer = (token: string) => ({ Authorization: `Bearer ${token}` });
const basic = (user: string, token: string) => ({ Authorization: `Basic ${btoa(`${user}:${token}`)}` });

describe("AdminGate", () => {
  test.each(["localhost", "localhost:28889", "LocalHost:1", "127.0.0.1", "127.0.0.1:28889", "127.3.2.1", "[::1]:9"])(
    "admits a client of this machine with Host %s",
    async (host) => {
      expect(await askClosed({ headers: { Host: host } })).toMatchObject({ status: 200, text: '{"secret":true}\n' });
    },
  );

  test.each([
    "evil.example",
    "evil.example:28889",
    "localhost.evil.example",
    "127.0.0.1.evil.example",
    "localhost.",
    "127.0.0.1, localhost",
    "localhost, evil.example",
    "10.0.0.7:28889",
    "[fd00::1]",
    "[::ffff:10.0.0.7]",
    "",
    "0.0.0.0",
    "2130706433",
    "localhost:28889@evil.example",
  ])("refuses a client of this machine with Host %j, which can be DNS rebinding", async (host) => {
    const { status, text } = await askClosed({ headers: { Host: host } });
    expect(status).toBeOneOf([400, 403]);
    expect(text).not.toContain("secret");
  });

  test("admits a client on ::1", async () => {
    const answer = await fetch(`http://[::1]:${withoutToken.port}/debug/secrets`);
    expect(await answer.json()).toEqual({ secret: true });
  });

  test("refuses HTTP/1.0 without Host", async () => {
    const raw = await openRaw(withoutToken.port);
    raw.write("GET /debug/secrets HTTP/1.0\r\n\r\n");
    expect(await raw.closed()).toContain(" 403 ");
  });

  test.each([
    ["X-Forwarded-For", "127.0.0.1"],
    ["X-Forwarded-Host", "localhost"],
    ["Forwarded", "for=127.0.0.1"],
    ["Via", "1.1 proxy"],
    ["X-Real-IP", "127.0.0.1"],
    ["CDN-Loop", "opensandbox-ingress"],
    ["X-Envoy-Internal", "true"],
    ["X-Remote-User", "system:anonymous"],
  ])("refuses what a proxy on this machine forwards: %s", async (name, value) => {
    const { status, text } = await askClosed({ headers: { Host: "localhost", [name]: value } });
    expect(status).toBe(403);
    expect(text).toContain("port forward");
  });

  test("does not believe X-Forwarded-For: 127.0.0.1 of another machine", async () => {
    const headers = { Host: "localhost", "X-Forwarded-For": "127.0.0.1" };
    expect((await askClosed({ from: OTHER_PEER, headers })).status).toBe(403);
    expect((await askClosed({ from: OTHER_PEER, headers: { Host: "localhost" } })).status).toBe(403);
  });

  test.each(["/debug/", "/debug/none", "/debug/secrets", "/debug/act"])(
    "does not tell others which pages there are: %s",
    async (path) => {
      expect((await askClosed({ from: OTHER_PEER }, path)).status).toBe(403);
      expect((await ask({ from: OTHER_PEER }, path)).status).toBe(401);
    },
  );

  test("shows everybody the probes and the index, and the debug pages in the index to operators only", async () => {
    for (const path of ["/livez", "/readyz", "/metrics"]) {
      expect((await askClosed({ from: OTHER_PEER, headers: { Host: "evil.example" } }, path)).status).toBe(200);
    }
    const theirs = await askClosed({ from: OTHER_PEER }, "/");
    expect([theirs.status, theirs.text.includes("/debug")]).toEqual([200, false]);
    const ours = await askClosed({}, "/");
    expect([ours.status, ours.text.includes("/debug/secrets")]).toEqual([200, true]);
  });

  test.each([
    ["Bearer", bearer(TOKEN)],
    ["bearer in another case", { Authorization: `bEARER ${TOKEN}` }],
    ["Basic", basic("anybody", TOKEN)],
    ["Basic without a user", basic("", TOKEN)],
  ])("admits other machines that show the token as %s, whatever their Host", async (_, headers) => {
    const forwarded = { Host: "admin.example", "X-Forwarded-For": "10.1.2.3" };
    expect((await ask({ from: OTHER_PEER, headers: { ...headers, ...forwarded } })).status).toBe(200);
  });

  test.each([
    ["no credential", {}],
    ["a wrong token", bearer(`${TOKEN}x`)],
    ["a part of the token", bearer(TOKEN.slice(0, -1))],
    ["an empty one", { Authorization: "Bearer " }],
    ["the token as the user", basic(TOKEN, "")],
    ["another scheme", { Authorization: `Digest ${TOKEN}` }],
    ["Basic that is not base64", { Authorization: "Basic ****" }],
    ["the token without a scheme", { Authorization: TOKEN }],
  ])("asks for the token with 401: %s", async (_, headers) => {
    const answer = await ask({ from: OTHER_PEER, headers });
    expect(answer.status).toBe(401);
    expect(answer.headers["www-authenticate"]).toStartWith("Basic realm=");
    expect(answer.text).not.toContain(TOKEN.slice(0, 8));
  });

  test("limits the guesses of a client, right ones included, and forgives with time", async () => {
    const guess = (token: string, from = OTHER_PEER) => ask({ from, headers: bearer(token) });
    for (let at = 0; at < GUESS_BURST; at++) expect((await guess(`wrong-${at}`)).status).toBe(401);
    const throttled = await guess("wrong-again");
    expect([throttled.status, throttled.headers["retry-after"]]).toEqual([429, "10"]);
    expect((await guess(TOKEN)).status).toBe(429);
    expect((await guess(TOKEN, "127.0.0.3")).status).toBe(200);
    clock.advance(10_000);
    expect((await guess(TOKEN)).status).toBe(200);
    const warnings = lines.filter((line) => line.startsWith("warn"));
    expect(warnings).toEqual([`warn wrong tokens are shown on the admin port {"client":"${OTHER_PEER}"}`]);
  });

  test.each([
    ["a foreign Origin", "GET", { Origin: "https://evil.example" }],
    ["the Origin null", "GET", { Origin: "null" }],
    ["another port's Origin", "POST", { Origin: "http://localhost:1" }],
    ["a foreign page's fetch", "GET", { "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors" }],
    ["a sibling's fetch", "GET", { "Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "cors" }],
    [
      "a foreign page's frame",
      "GET",
      { "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe" },
    ],
    [
      "a foreign page's form",
      "POST",
      { "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document" },
    ],
    ["a form of a browser that tells only the Origin", "POST", { Origin: "https://evil.example" }],
  ])("refuses %s, also with the token", async (_, method, headers) => {
    const path = method === "POST" ? "/debug/act" : "/debug/secrets";
    const all = { Host: "localhost:28889", ...headers };
    expect((await askClosed({ method, headers: all }, path)).status).toBe(403);
    expect((await ask({ method, from: OTHER_PEER, headers: { ...all, ...bearer(TOKEN) } }, path)).status).toBe(403);
  });

  test.each([
    ["its own page's fetch", { Origin: "http://localhost:28889", "Sec-Fetch-Site": "same-origin" }],
    ["its own page's behind TLS", { Origin: "https://LOCALHOST:28889" }],
    ["a program, which sends neither", {}],
    ["a typed address", { "Sec-Fetch-Site": "none", "Sec-Fetch-Mode": "navigate" }],
  ])("admits a POST of %s", async (_, headers) => {
    const all = { Host: "localhost:28889", ...headers };
    expect((await askClosed({ method: "POST", headers: all }, "/debug/act")).status).toBe(200);
  });

  test("lets a browser follow a link here", async () => {
    const headers = { "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document" };
    expect((await askClosed({ headers })).status).toBe(200);
  });

  test("sends no CORS header and forbids keeping, framing and loading, whatever the answer", async () => {
    for (const answer of [await askClosed(), await ask({ from: OTHER_PEER }), await askClosed({}, "/")]) {
      expect(Object.keys(answer.headers).filter((name) => name.startsWith("access-control-"))).toEqual([]);
      expect(answer.headers).toMatchObject({
        "cache-control": "no-store",
        "x-content-type-options": "nosniff",
        "cross-origin-resource-policy": "same-origin",
        "referrer-policy": "no-referrer",
        "x-frame-options": "DENY",
      });
      expect(answer.headers["content-security-policy"]).toStartWith("default-src 'none'");
    }
  });

  test("answers 405 to OPTIONS, so that no preflight succeeds", async () => {
    const headers = { Origin: "http://localhost:28889", Host: "localhost:28889" };
    const { status, headers: sent } = await askClosed({ method: "OPTIONS", headers });
    expect([status, sent["allow"]]).toEqual([405, "GET, HEAD"]);
    expect((await askClosed({ headers: { Host: "localhost" } }, "/debug/act")).headers["allow"]).toBe("POST");
  });

  test("/login asks a browser for the token and leads to the index; without a token it is not there", async () => {
    expect((await ask({ from: OTHER_PEER }, "/login")).status).toBe(401);
    const answer = await ask({ from: OTHER_PEER, headers: basic("me", TOKEN) }, "/login");
    expect([answer.status, answer.headers["location"]]).toEqual([303, "/"]);
    expect((await askClosed({}, "/login")).status).toBe(404);
  });

  test("takes a new token without a restart, and keeps the old one while the file is bad", async () => {
    const next = "another-token-of-enough-bytes";
    writeFileSync(tokenFile, "short");
    await eventually(() => lines.some((line) => line.includes("cannot use the admin token file")));
    expect((await ask({ from: OTHER_PEER, headers: bearer(TOKEN) })).status).toBe(200);
    writeFileSync(tokenFile, next);
    await eventually(() => lines.some((line) => line.includes("admin token read again")));
    expect((await ask({ from: OTHER_PEER, headers: bearer(next) })).status).toBe(200);
    expect((await ask({ from: OTHER_PEER, headers: bearer(TOKEN) })).status).toBe(401);
    expect(lines.join("\n")).not.toContain(next);
  });
});

describe("createAdminToken", () => {
  test.each([
    ["is missing", undefined],
    ["is empty", ""],
    ["is one byte too short", "0123456789abcde"],
    ["has two lines", "0123456789abcdef\n0123456789abcdef"],
    ["has a space", "0123456789 abcdef"],
    ["is not ASCII", "0123456789abcdefé"],
    ["is too long", "x".repeat(1_025)],
  ])("does not start with a token that %s, and shows nothing of it", async (_, text) => {
    using own = tempDir();
    const file = join(own.path, "token");
    if (text !== undefined) writeFileSync(file, text);
    const token = createAdminToken({ file, logger: silentLogger, clock: systemClock });
    const failure = await token.start().then(
      () => "nothing was thrown",
      (error: unknown) => String(error),
    );
    expect(failure).toContain("admin token");
    expect(failure).not.toContain("0123");
  });
});
