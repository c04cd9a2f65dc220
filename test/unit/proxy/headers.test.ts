import { describe, expect, test } from "bun:test";
import { parseAddressSet } from "../../../src/address.ts";
import { createClientAddressResolver } from "../../../src/proxy/client-address.ts";
import { hasToken, rewriteRequestHeaders, rewriteResponseHeaders } from "../../../src/proxy/headers.ts";

const resolveClientAddress = createClientAddressResolver(parseAddressSet("private"));

function rewritten(headers: Record<string, string>, options: { peer?: string; prefix?: string } = {}) {
  const result = new Headers(headers);
  const address = resolveClientAddress(options.peer ?? "203.0.113.9", result.get("x-forwarded-for") ?? undefined);
  rewriteRequestHeaders(result, result.toJSON(), { address, host: "shop.test", prefix: options.prefix ?? "" });
  return Object.fromEntries(result);
}

describe("rewriteRequestHeaders", () => {
  test("rewriteRequestHeaders removes private, hop-by-hop and Connection-named headers and keeps the rest", () => {
    const result = rewritten({
      "OpenSandbox-Ingress-To": "a-1",
      "OPEN-SANDBOX-INGRESS": "a-1",
      "OpenSandbox-Secure-Access": "secret",
      "OpenSandbox-Access-Renew": "skip",
      Connection: "keep-alive, X-Hop, content-length",
      "X-Hop": "1",
      "Keep-Alive": "timeout=5",
      TE: "trailers",
      Upgrade: "h2c",
      Expect: "100-continue",
      "Proxy-Authorization": "Basic x",
      "Content-Length": "5",
      Authorization: "Bearer t",
      Cookie: "c=1",
      "User-Agent": "curl",
      Accept: "*/*",
    });
    expect(result).toEqual({
      accept: "*/*",
      authorization: "Bearer t",
      "content-length": "5",
      cookie: "c=1",
      "user-agent": "curl",
      "x-forwarded-for": "203.0.113.9",
      "x-forwarded-host": "shop.test",
      "x-forwarded-proto": "http",
    });
  });

  test("rewriteRequestHeaders replaces what an untrusted peer says of itself", () => {
    const result = rewritten({
      "X-Forwarded-For": "1.2.3.4",
      "X-Forwarded-Host": "evil",
      "X-Forwarded-Proto": "https",
      "X-Forwarded-Prefix": "/evil",
    });
    expect(result["x-forwarded-for"]).toBe("203.0.113.9");
    expect(result["x-forwarded-host"]).toBe("shop.test");
    expect(result["x-forwarded-proto"]).toBe("http");
    expect(result).not.toHaveProperty("x-forwarded-prefix");
  });

  test("rewriteRequestHeaders keeps and extends what a trusted peer says", () => {
    const result = rewritten(
      {
        "X-Forwarded-For": "1.2.3.4",
        "X-Forwarded-Host": "front",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Prefix": "/p/",
      },
      { peer: "::ffff:10.0.0.1", prefix: "/sb/80" },
    );
    expect(result["x-forwarded-for"]).toBe("1.2.3.4, 10.0.0.1");
    expect(result["x-forwarded-host"]).toBe("front");
    expect(result["x-forwarded-proto"]).toBe("https");
    expect(result["x-forwarded-prefix"]).toBe("/p/sb/80");
  });
});

test("rewriteResponseHeaders removes what Connection names and sets the one header of its own", () => {
  const headers = new Headers([
    ["Connection", "X-Hop"],
    ["X-Hop", "1"],
    ["Transfer-Encoding", "chunked"],
    ["Reverse-Proxy-Server-PowerBy", "someone else"],
    ["Set-Cookie", "a=1"],
    ["Set-Cookie", "b=2"],
  ]);
  rewriteResponseHeaders(headers, { closeConnection: true });
  expect([...headers]).toEqual([
    ["connection", "close"],
    ["reverse-proxy-server-powerby", "OpenSandbox-ingress"],
    ["set-cookie", "a=1"],
    ["set-cookie", "b=2"],
  ]);
});

describe("resolveClientAddress", () => {
  test.each([
    ["203.0.113.9", "1.2.3.4", "203.0.113.9"],
    ["10.0.0.1", undefined, "10.0.0.1"],
    ["10.0.0.1", "1.2.3.4", "1.2.3.4"],
    ["10.0.0.1", "6.6.6.6, 1.2.3.4, 10.0.0.7", "1.2.3.4"],
    ["10.0.0.1", "1.2.3.4:5678, 10.0.0.7", "1.2.3.4"],
    ["10.0.0.1", "[2001:db8::1]:443", "2001:db8::1"],
    ["10.0.0.1", "1.2.3.4, unknown", "10.0.0.1"],
    ["10.0.0.1", "10.0.0.2,10.0.0.3", "10.0.0.1"],
    ["10.0.0.1", "", "10.0.0.1"],
  ])("resolveClientAddress: peer %s with X-Forwarded-For %j is %s", (peer, forwardedFor, client) => {
    expect(resolveClientAddress(peer, forwardedFor).client).toBe(client);
  });

  test("resolveClientAddress remembers the peer, and nothing of what it said of others", () => {
    const peer = "::ffff:10.0.0.9";
    expect(resolveClientAddress(peer, "1.2.3.4")).toEqual({
      peer: "10.0.0.9",
      peerTrusted: true,
      client: "1.2.3.4",
      isShared: false,
    });
    expect(resolveClientAddress(peer, undefined)).toEqual({
      peer: "10.0.0.9",
      peerTrusted: true,
      client: "10.0.0.9",
      isShared: true,
    });
    for (let at = 0; at < 5_000; at++) resolveClientAddress(`203.0.${at >> 8}.${at & 255}`, undefined);
    expect(resolveClientAddress(peer, "5.6.7.8").client).toBe("5.6.7.8");
    expect(resolveClientAddress("203.0.113.9", "5.6.7.8").client).toBe("203.0.113.9");
  });

  test("resolveClientAddress looks at a bounded number of hops", () => {
    const forwardedFor = `1.2.3.4, ${"10.0.0.2, ".repeat(100_000)}10.0.0.3`;
    expect(resolveClientAddress("10.0.0.1", forwardedFor).client).toBe("10.0.0.1");
  });
});

test("hasToken finds tokens in lists, in any case, and only whole ones", () => {
  expect(hasToken("keep-alive, Upgrade", "upgrade")).toBe(true);
  expect(hasToken("websocket", "websocket")).toBe(true);
  expect(hasToken("upgrades", "upgrade")).toBe(false);
  expect(hasToken(undefined, "upgrade")).toBe(false);
});
