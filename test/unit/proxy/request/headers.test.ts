import { describe, expect, test } from "bun:test";
import { parseAddressSet } from "../../../../src/address.ts";
import { createClientAddressResolver } from "../../../../src/proxy/request/client-address.ts";
import {
  ANSWER_HEAD_MAX_BYTES,
  checkConnectionOptions,
  rewriteRequestHeaders,
  rewriteResponseHeaders,
} from "../../../../src/proxy/request/headers.ts";

const resolveClientAddress = createClientAddressResolver(parseAddressSet("private"));

const TRUSTED_PEER = "10.0.0.1";

function rewritten(
  headers: Record<string, string>,
  options: { peer?: string; prefix?: string; host?: string } = {},
): Record<string, string> {
  const result = new Headers(headers);
  const { peer = "203.0.113.9", prefix = "", host = "shop.test" } = options;
  const address = resolveClientAddress(peer, result.get("x-forwarded-for") ?? undefined);
  rewriteRequestHeaders(result, result.toJSON(), { address, host, prefix, scheme: "http", requestId: "id-1" });
  return Object.fromEntries(result);
}

/** What every request has that brings nothing of its own. */
const OWN = {
  accept: "*/*",
  "cdn-loop": "opensandbox-ingress",
  "user-agent": "",
  "x-forwarded-for": "203.0.113.9",
  "x-forwarded-host": "shop.test",
  "x-forwarded-proto": "http",
  "x-request-id": "id-1",
};

/** Every header by which frameworks tell the client's side, in both spellings that CGI takes for one. */
const FORWARDING = [
  "Forwarded",
  "X-Real-IP",
  "X-Forwarded-For",
  "X-Forwarded-Host",
  "X-Forwarded-Proto",
  "X-Forwarded-Prefix",
  "X-Forwarded-Port",
  "X-Forwarded-Server",
  "X-Forwarded-Ssl",
  "X-Forwarded-Uri",
  "X-Forwarded-Client-Cert",
  "X-Forwarded-User",
];

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
      Accept: "text/html",
    });
    expect(result).toEqual({
      ...OWN,
      accept: "text/html",
      authorization: "Bearer t",
      "content-length": "5",
      cookie: "c=1",
      "user-agent": "curl",
    });
  });

  test("rewriteRequestHeaders replaces what an untrusted peer says about itself", () => {
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

  test.each(FORWARDING)("rewriteRequestHeaders removes %s of an untrusted peer", (name) => {
    expect(rewritten({ [name]: "6.6.6.6" })).toEqual(OWN);
  });

  test.each(FORWARDING.slice(1))("rewriteRequestHeaders removes %s with underscores from every peer", (name) => {
    const disguised = { [name.replaceAll("-", "_")]: "6.6.6.6" };
    expect(rewritten(disguised)).toEqual(OWN);
    expect(rewritten(disguised, { peer: TRUSTED_PEER })).toEqual({ ...OWN, "x-forwarded-for": TRUSTED_PEER });
  });

  test.each(["X-OSB-Tenant", "x-osb-protocol", "X_Osb_Sandbox-Uid", "OpenSandbox_Secure_Access"])(
    "rewriteRequestHeaders removes %s from every peer",
    (name) => {
      expect(rewritten({ [name]: "1" })).toEqual(OWN);
      expect(rewritten({ [name]: "1" }, { peer: TRUSTED_PEER })).toEqual({ ...OWN, "x-forwarded-for": TRUSTED_PEER });
    },
  );

  test.each([
    "Content_Length",
    "content_Length",
    "Transfer_Encoding",
    "TRANSFER_ENCODING",
    "X_Request_Id",
    "X-Request_Id",
    "CDN_Loop",
    "Keep_Alive",
    "Proxy_Connection",
    "Proxy_Authorization",
    "Sec_WebSocket_Key",
    "Proxy",
  ])("rewriteRequestHeaders lets no %s pass, which some servers take for another header", (name) => {
    expect(rewritten({ [name]: "1" })).toEqual(OWN);
    expect(rewritten({ [name]: "1" }, { peer: TRUSTED_PEER })).toEqual({ ...OWN, "x-forwarded-for": TRUSTED_PEER });
  });

  test.each([
    "X-Original-URL",
    "CF-Connecting-IP",
    "X-Forward",
    "X_Custom",
    "X-Osbourne",
    "Forwarded-By",
    "Content_Type",
    "X_Request",
    "Proxy-X",
  ])("rewriteRequestHeaders passes %s on as any other header", (name) => {
    expect(rewritten({ [name]: "1" })).toEqual({ ...OWN, [name.toLowerCase()]: "1" });
  });

  test.each([["203.0.113.9"], [TRUSTED_PEER]])(
    "rewriteRequestHeaders sets its headers even if Connection names them, from a peer %s",
    (peer) => {
      const names = Object.keys(OWN);
      const sent = Object.fromEntries(names.map((name) => [name, "sent"]));
      const result = rewritten({ ...sent, "X-Kept": "1", Connection: names.join(", ") }, { peer });
      expect(result).toEqual({
        ...OWN,
        "x-forwarded-for": peer,
        "x-kept": "1",
        "cdn-loop": "sent, opensandbox-ingress",
      });
    },
  );

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

  test("rewriteRequestHeaders keeps everything that a trusted peer says", () => {
    const sent = Object.fromEntries(FORWARDING.map((name) => [name.toLowerCase(), "/x"]));
    expect(rewritten(sent, { peer: TRUSTED_PEER })).toEqual({
      ...OWN,
      ...sent,
      "x-forwarded-for": `/x, ${TRUSTED_PEER}`,
    });
  });

  test("rewriteRequestHeaders adds its pass after the others", () => {
    expect(rewritten({ "CDN-Loop": "cdn.test; a=1" })["cdn-loop"]).toBe("cdn.test; a=1, opensandbox-ingress");
  });

  test("rewriteRequestHeaders keeps Accept and User-Agent as sent, even empty ones", () => {
    expect(rewritten({ Accept: "", "User-Agent": "" })).toEqual({ ...OWN, accept: "" });
  });

  test.each([
    ["sb-80-3w5e11-0123456789.test:8080", undefined],
    ["sb-80-3w5e11-01234567a.apps.test:8080", "sb-80.apps.test:8080"],
    ["SB-80-3W5E11-01234567A.Apps.test", "SB-80.Apps.test"],
    ["a-b-80-0-deadbeefz", "a-b-80"],
    ["sb-80.apps.test", undefined],
    ["my-80-days-deadbeef.test", undefined],
  ])("rewriteRequestHeaders tells the host %s without a credential", (host, told = host) => {
    expect(rewritten({}, { host })["x-forwarded-host"]).toBe(told);
    expect(rewritten({ "X-Forwarded-Host": host }, { peer: TRUSTED_PEER })["x-forwarded-host"]).toBe(told);
    const page = `https://${host}/a-1-2-deadbeef1/x?next=https://${host}/`;
    const toldPage = `https://${told}/a-1-2-deadbeef1/x?next=https://${host}/`;
    expect(rewritten({ Referer: page })["referer"]).toBe(toldPage);
    expect(rewritten({ Origin: `https://${host.toUpperCase()}` }, { host })["origin"]?.toLowerCase()).toBe(
      `https://${told.toLowerCase()}`,
    );
    expect(rewritten({ Origin: `https://${host}` })["origin"]).toBe(`https://${host}`);
  });

  test.each([
    ["/sb/80/3w5e11/01234567a/x/y", "/sb/80/x/y"],
    ["/sb/80/3w5e11/01234567a", "/sb/80"],
    ["/front/sb/80/0/01234567a/", "/front/sb/80/"],
    ["/sb/80/3w5e11/01234567a?a=/sb/80/3w5e11/01234567a", "/sb/80?a=/sb/80/3w5e11/01234567a"],
    ["/sb/80/3w5e11/0123456a", undefined],
    ["/sb/80/3w5e11/01234567a.html", undefined],
    ["/sb/080/3w5e11/01234567a", undefined],
  ])("rewriteRequestHeaders tells the path %s without a credential", (path, told = path) => {
    expect(rewritten({ Referer: `https://h.test${path}` })["referer"]).toBe(`https://h.test${told}`);
    const trusted = rewritten({ "X-Forwarded-Uri": path, "X-Forwarded-Prefix": path }, { peer: TRUSTED_PEER });
    expect(trusted["x-forwarded-uri"]).toBe(told);
    expect(trusted["x-forwarded-prefix"]).toBe(told.endsWith("/") ? told.slice(0, -1) : told);
  });

  test("rewriteRequestHeaders cuts a Referer of more than 4,096 characters to its origin", () => {
    const longest = `https://h.test/${"a".repeat(4_096 - 15)}`;
    expect(rewritten({ Referer: longest })["referer"]).toBe(longest);
    expect(rewritten({ Referer: `${longest}a` })["referer"]).toBe("https://h.test/");
  });

  test("rewriteRequestHeaders removes credentials from each element of a list", () => {
    const hosts = "a-1-0-deadbeef1.x, b-2-0-deadbeef2.y";
    const sent = { "X-Forwarded-Host": hosts, Forwarded: `host="c-3-0-deadbeef3.z";proto=https` };
    const result = rewritten(sent, { peer: TRUSTED_PEER });
    expect(result["x-forwarded-host"]).toBe("a-1.x, b-2.y");
    expect(result["forwarded"]).toBe('host="c-3.z";proto=https');
  });
});

describe("checkConnectionOptions", () => {
  const options = (count: number): string => Array.from({ length: count }, (_, at) => `x-${at}`).join(",");

  test.each([undefined, "", "close", options(64), ",".repeat(63)])(
    "checkConnectionOptions accepts %j",
    (connection) => {
      expect(() => checkConnectionOptions({ connection })).not.toThrow();
    },
  );

  test.each([options(65), options(10_000), ",".repeat(64)])("checkConnectionOptions refuses %j", (connection) => {
    expect(() => checkConnectionOptions({ connection })).toThrow("more than 64 connection options");
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
  rewriteResponseHeaders(headers, { closeConnection: true, requestId: "id-1" });
  expect([...headers]).toEqual([
    ["connection", "close"],
    ["reverse-proxy-server-powerby", "OpenSandbox-ingress"],
    ["x-request-id", "id-1"],
    ["set-cookie", "a=1"],
    ["set-cookie", "b=2"],
  ]);
});

describe("rewriteResponseHeaders", () => {
  const relayed = (init: [string, string][]): Headers => {
    const headers = new Headers(init);
    rewriteResponseHeaders(headers, { closeConnection: false, requestId: "id-1" });
    return headers;
  };

  test("rewriteResponseHeaders keeps the request id of the sandbox, unless it is hop-by-hop", () => {
    expect(relayed([["X-Request-Id", "theirs"]]).get("x-request-id")).toBe("theirs");
    expect(
      relayed([
        ["X-Request-Id", "theirs"],
        ["Connection", "x-request-id"],
      ]).get("x-request-id"),
    ).toBe("id-1");
  });

  test("rewriteResponseHeaders does not let a sandbox ask for a password of a proxy", () => {
    const headers = relayed([
      ["Proxy-Authenticate", "Basic"],
      ["Proxy-Authentication-Info", "x"],
      ["WWW-Authenticate", "Basic"],
    ]);
    expect([...headers.keys()].toSorted()).toEqual([
      "reverse-proxy-server-powerby",
      "www-authenticate",
      "x-request-id",
    ]);
  });

  /** `count` fields that make a head of exactly `bytes`. */
  const head = (bytes: number, name: (at: number) => string, count: number): [string, string][] =>
    Array.from({ length: count }, (_, at) => {
      const length = Math.floor(bytes / count) + (at === 0 ? bytes % count : 0);
      return [name(at), "v".repeat(length - name(at).length - 4)];
    });

  test.each([
    ["one field", () => "x-a", 1],
    ["many fields", (at: number) => `x-${at}`, 200],
    ["cookies", () => "set-cookie", 200],
  ])("rewriteResponseHeaders accepts a head of at most 64 KiB of %s", (_name, name, count) => {
    expect(() => relayed(head(ANSWER_HEAD_MAX_BYTES, name, count))).not.toThrow();
    expect(() => relayed(head(ANSWER_HEAD_MAX_BYTES + 1, name, count))).toThrow("sandbox sent an invalid answer");
  });

  test("rewriteResponseHeaders accepts at most 64 connection options", () => {
    expect(() => relayed([["Connection", ",".repeat(63)]])).not.toThrow();
    expect(() => relayed([["Connection", ",".repeat(64)]])).toThrow("sandbox sent an invalid answer");
  });
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

  test("resolveClientAddress remembers the peer, but not what it said about others", () => {
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

  test("resolveClientAddress reads a limited number of hops", () => {
    const forwardedFor = `1.2.3.4, ${"10.0.0.2, ".repeat(100_000)}10.0.0.3`;
    expect(resolveClientAddress("10.0.0.1", forwardedFor).client).toBe("10.0.0.1");
  });
});
