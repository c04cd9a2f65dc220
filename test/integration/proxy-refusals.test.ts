import { afterAll, beforeAll, expect, test } from "bun:test";

import { type ProxyHarness, startProxy } from "../../scripts/lib/stage/proxy-harness.ts";
import { headerValues, openRaw, type RawAnswer, rawRequest } from "../../scripts/lib/stage/raw-client.ts";

const NAVIGATION = "Sec-Fetch-Mode: navigate\r\nAccept: text/html,*/*;q=0.8\r\n";
const PROBLEM = "Accept: application/problem+json\r\n";

let proxy: ProxyHarness;

beforeAll(() => {
  proxy = startProxy();
  proxy.provider.set({ name: "sb" });
  proxy.provider.set({ name: "away", ready: false });
  for (const ready of [true, false]) {
    proxy.provider.set({ name: ready ? "locked-on" : "locked-off", accessToken: "t", ready, namespace: "team-a" });
  }
});
afterAll(() => proxy[Symbol.asyncDispose]());

const ask = (route: string, extra: string): Promise<RawAnswer> =>
  rawRequest(proxy.port, `GET / HTTP/1.1\r\nHost: x\r\nOpenSandbox-Ingress-To: ${route}\r\n${extra}\r\n`);

test("buildRefusal builds a page for a browser, before and after the request became an exchange", async () => {
  const [away, refused] = [await ask("away-3000", NAVIGATION), await ask("sb-1", NAVIGATION)];
  for (const answer of [away, refused]) {
    expect(answer.status).toBe(503);
    expect(headerValues(answer, "content-type")).toEqual(["text/html; charset=utf-8"]);
  }
  expect(away.body).toContain('http-equiv="refresh"');
  expect(refused.body).toContain("Nothing listens on port 1<");
  expect(refused.body).not.toContain('http-equiv="refresh"');
  expect(headerValues(refused, "proxy-status")).toEqual([
    'opensandbox-ingress; error=connection_refused; details="upstream_refused"',
  ]);
});

test("buildRefusal builds problem details for clients that ask for them", async () => {
  const answer = await ask("nobody-80", `X-Request-Id: "mine"\r\n${PROBLEM}`);
  expect(headerValues(answer, "content-type")).toEqual(["application/problem+json"]);
  expect(JSON.parse(answer.body)).toMatchObject({
    status: 404,
    code: "sandbox_not_found",
    sandboxId: "nobody",
    port: 80,
    requestId: '"mine"',
  });
});

test("buildRefusal answers HEAD with the headers of GET and no body", async () => {
  for (const extra of ["", PROBLEM, NAVIGATION]) {
    const lines = `Host: x\r\nX-Request-Id: r\r\nOpenSandbox-Ingress-To: nobody-80\r\n${extra}\r\n`;
    const get = await rawRequest(proxy.port, `GET / HTTP/1.1\r\n${lines}`);
    const connection = await openRaw(proxy.port);
    connection.write(`HEAD / HTTP/1.1\r\n${lines}`);
    const head = await connection.readAnswer({ head: true });
    connection.destroy();
    const told = ({ headers }: RawAnswer) => new Map(headers.filter(([name]) => name !== "date"));
    expect(told(head)).toEqual(told(get));
    expect([head.status, head.body]).toEqual([404, ""]);
  }
});

test("buildRefusal tells no client without a credential whether a secured sandbox is ready or where it is", async () => {
  for (const extra of ["", PROBLEM, NAVIGATION]) {
    const shown = [];
    for (const name of ["locked-on", "locked-off"]) {
      const { status, raw } = await ask(`${name}-80`, `X-Request-Id: r\r\n${extra}`);
      expect(status).toBe(401);
      expect(raw).not.toMatch(/team-a|127\.0\.0\.1/);
      shown.push(raw.replaceAll(name, "").replace(/^(date|content-length): .*$/gim, ""));
    }
    expect(shown[1]).toBe(shown[0] ?? "");
  }
});
