import { describe, expect, test } from "bun:test";

import { parseStrictRequests } from "../../support/strict-request-parser.ts";

const HEAD = "POST /x HTTP/1.1\r\nHost: a\r\n";

describe("parseStrictRequests", () => {
  test("parseStrictRequests reads several requests, of both framings", () => {
    const bytes = `${HEAD}Content-Length: 2\r\n\r\nok${HEAD}Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n`;
    const { requests, isComplete } = parseStrictRequests(bytes);
    expect(requests.map(({ method, target, body }) => [method, target, body])).toEqual([
      ["POST", "/x", "ok"],
      ["POST", "/x", "ok"],
    ]);
    expect(isComplete).toBe(true);
    expect(parseStrictRequests(bytes.slice(0, -1)).isComplete).toBe(false);
  });

  test.each([
    ["a bare LF", "GET / HTTP/1.1\nHost: a\r\n\r\n"],
    ["a space before the colon", "GET / HTTP/1.1\r\nHost : a\r\n\r\n"],
    ["two Hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"],
    ["no Host", "GET / HTTP/1.1\r\n\r\n"],
    ["two lengths", `${HEAD}Content-Length: 1\r\nContent-Length: 1\r\n\r\nx`],
    ["a length beside chunks", `${HEAD}Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`],
    ["another coding", `${HEAD}Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n`],
    ["a chunk extension", `${HEAD}Transfer-Encoding: chunked\r\n\r\n1;a\r\nx\r\n0\r\n\r\n`],
    ["a signed length", `${HEAD}Content-Length: +1\r\n\r\nx`],
    ["a NUL in a value", "GET / HTTP/1.1\r\nHost: a\r\nX: a\u0000b\r\n\r\n"],
    ["a folded line", "GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n"],
    ["an old version", "GET / HTTP/1.0\r\nHost: a\r\n\r\n"],
  ])("parseStrictRequests refuses %s", (_what, bytes) => {
    expect(() => parseStrictRequests(bytes)).toThrow();
  });
});
