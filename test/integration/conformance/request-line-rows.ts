import { build, CONTROLS, either, forward, refuse, type Row } from "./row.ts";

const LINE = "RFC 9112 §3";
const TARGET = "RFC 9112 §3.2";
const METHOD = "RFC 9110 §9";
const get = (target: string): string => build(`GET ${target} HTTP/1.1`);

const METHOD_ROWS: readonly Row[] = [
  ...["GET", "HEAD", "DELETE", "OPTIONS", "PUT", "POST", "PATCH"].map((method) =>
    forward(`method ${method}`, METHOD, build(`${method} /x HTTP/1.1`), { method, target: "/x", body: "" }),
  ),
  refuse("CONNECT", "RFC 9110 §9.3.6", build("CONNECT h.test:80 HTTP/1.1"), 405),
  refuse("CONNECT with a path", "RFC 9110 §9.3.6", build("CONNECT /x HTTP/1.1")),
  refuse("TRACE", "RFC 9110 §9.3.8, cross-site tracing", build("TRACE /x HTTP/1.1"), 405),
  refuse("a lower-case method", `${METHOD}.1`, build("get /x HTTP/1.1")),
  refuse("an unknown method", `${METHOD}.1`, build("FOOBAR /x HTTP/1.1")),
  refuse("an empty method", LINE, build(" /x HTTP/1.1")),
  refuse("a method with a control character", LINE, build("GE\x01T /x HTTP/1.1")),
  refuse("a method with a colon", LINE, build("GET: /x HTTP/1.1")),
  refuse("a NUL before the method", LINE, build("\0GET /x HTTP/1.1")),
  refuse("a tab before the method", LINE, build("\tGET /x HTTP/1.1")),
  refuse("the HTTP/2 preface", "RFC 9113 §3.4", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
  refuse("a TLS hello", "RFC 8446 §4.1.2", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"),
  refuse("an answer instead of a request", LINE, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
];

const VERSION_ROWS: readonly Row[] = [
  either("HTTP/1.0 without Host", "RFC 9112 §3.2", "GET /x HTTP/1.0\r\n@ROUTE\r\n", { target: "/x" }),
  forward("HTTP/1.0 with Host", "RFC 9112 §2.3", build("GET /x HTTP/1.0"), { target: "/x" }),
  ...[
    "HTTP/0.9",
    "HTTP/1.2",
    "HTTP/1.9",
    "HTTP/2.0",
    "HTTP/3.0",
    "HTTP/1.10",
    "HTTP/11",
    "HTTP/1",
    "HTTP/1.",
    "HTTP/.1",
  ].map((version) => refuse(`version ${version}`, "RFC 9112 §2.3", build(`GET /x ${version}`))),
  ...[
    "http/1.1",
    "HTTP /1.1",
    "HTTP/ 1.1",
    "HTTP/1.1x",
    "HTTP/1.1 ",
    "HTTP/1.1\t",
    "XTTP/1.1",
    "HTTP/A.B",
    "HTTP/1,1",
    "HTTP-1.1",
  ].map((version) => refuse(`version ${JSON.stringify(version)}`, "RFC 9112 §2.3", build(`GET /x ${version}`))),
  refuse("no version", "RFC 1945 §4.1 (HTTP/0.9)", "GET /x\r\n\r\n"),
  refuse("no version, headers all the same", LINE, build("GET /x")),
];

const SPACING_ROWS: readonly Row[] = [
  refuse("two spaces before the target", LINE, build("GET  /x HTTP/1.1")),
  refuse("two spaces before the version", LINE, build("GET /x  HTTP/1.1")),
  refuse("a tab before the target", LINE, build("GET\t/x HTTP/1.1")),
  refuse("a tab before the version", LINE, build("GET /x\tHTTP/1.1")),
  refuse("a vertical tab before the version", LINE, build("GET /x\x0bHTTP/1.1")),
  refuse("a space in the target", LINE, build("GET /x y HTTP/1.1")),
  refuse("a version in the target", "request splitting", build("GET /x HTTP/1.1 HTTP/1.1")),
  refuse("a bare CR behind the request line", "RFC 9112 §2.2", "GET /x HTTP/1.1\rHost: h.test\r\n@ROUTE\r\n"),
  refuse("a bare LF behind the request line", "RFC 9112 §2.2", "GET /x HTTP/1.1\nHost: h.test\r\n@ROUTE\r\n"),
  refuse("bare LFs everywhere", "RFC 9112 §2.2", "GET /x HTTP/1.1\nHost: h.test\n\n"),
  refuse("CR CR LF behind the request line", "RFC 9112 §2.2", "GET /x HTTP/1.1\r\r\nHost: h.test\r\n@ROUTE\r\n"),
  either("an empty line first", "RFC 9112 §2.2", `\r\n${get("/x")}`, { method: "GET", target: "/x" }),
  either("two empty lines first", "RFC 9112 §2.2", `\r\n\r\n${get("/x")}`, { method: "GET", target: "/x" }),
  refuse("a bare LF first", "RFC 9112 §2.2", `\n${get("/x")}`),
];

/** Sent and seen. */
const KEPT_TARGETS: readonly (readonly [string, string])[] = [
  ["/", "/"],
  ["/a//b", "/a//b"],
  ["/a/b/", "/a/b/"],
  ["/%2F%2f", "/%2F%2f"],
  ["/%00", "/%00"],
  ["/%0d%0aX:y", "/%0d%0aX:y"],
  ["/%", "/%"],
  ["/%zz", "/%zz"],
  ["/a;b=c", "/a;b=c"],
  ["/a:b@c", "/a:b@c"],
  ["/~!$&'()*+,;=", "/~!$&'()*+,;="],
  ["/x?", "/x?"],
  ["/x??", "/x??"],
  ["/x?a=b&a=c", "/x?a=b&a=c"],
  ["/x?a=/../b", "/x?a=/../b"],
  ["/x?%2F=%2f", "/x?%2F=%2f"],
  ["/x?http://evil/", "/x?http://evil/"],
  ["/x?a=b+c%20d", "/x?a=b+c%20d"],
  ["/x?{a,b}|c", "/x?{a,b}|c"],
  ["/http://evil.test/x", "/http://evil.test/x"],
  // What Bun normalises before the program sees it is routed and forwarded in the same form.
  ["/a/./b", "/a/b"],
  ["/a/../b", "/b"],
  ["/../../b", "/b"],
  ["/a/%2e%2e/b", "/b"],
  ["/a/.%2E/b", "/b"],
  ["/a\\b", "/a/b"],
  ["/\\evil.test/x", "/evil.test/x"],
  ["//evil.test/x", "/evil.test/x"],
  ["///evil.test/x", "/evil.test/x"],
];

const TARGET_ROWS: readonly Row[] = [
  ...KEPT_TARGETS.map(([sent, seen]) => forward(`target ${sent}`, TARGET, get(sent), { target: seen })),
  either("target with a quote", TARGET, get('/a"b'), { target: "/a%22b" }),
  either("target with angle brackets", TARGET, get("/<a>"), { target: "/%3Ca%3E" }),
  either("target with braces", TARGET, get("/{a}"), { target: "/%7Ba%7D" }),
  either("target with a bar and a caret", TARGET, get("/|^`"), { target: "/|%5E%60" }),
  refuse("a fragment", TARGET, get("/x#y"), 400),
  refuse("a fragment in the query", TARGET, get("/x?y#z"), 400),
  ...CONTROLS.map((char) => refuse(`${JSON.stringify(char)} in the target`, TARGET, get(`/a${char}b`))),
  forward("a target of 8,000 octets", LINE, get(`/${"a".repeat(8_000)}`), { target: `/${"a".repeat(8_000)}` }),
  either("DEL in the target", TARGET, get("/a\x7fb"), { target: "/a%7Fb" }),
  refuse("a CR in the target", "request splitting", get("/a\rb")),
  refuse("an LF in the target", "request splitting", get("/a\nb")),
  refuse("an empty target", LINE, build("GET  HTTP/1.1")),
  refuse("no slash first", TARGET, get("x")),
  refuse("a query only", TARGET, get("?x")),
  refuse("dots only", TARGET, get("..")),
  refuse("an asterisk with GET", "RFC 9112 §3.2.4", get("*")),
  refuse("the authority form with GET", "RFC 9112 §3.2.3", get("h.test:80")),
  refuse("a very long target", "RFC 9112 §3", get(`/${"a".repeat(100_000)}`)),
  refuse("a very long query", "RFC 9112 §3", get(`/?${"a".repeat(100_000)}`)),
];

const ABSOLUTE = "RFC 9112 §3.2.2";
/** No target has such bytes (RFC 3986 §2); Bun makes the most of them that it can. */
const RAW_BYTE_ROWS: readonly Row[] = [
  either("UTF-8 in the path", TARGET, get("/\xc3\xa4"), { target: "/%C3%A4" }),
  either("UTF-8 in the query", TARGET, get("/x?\xc3\xa4"), { target: "/x?%C3%A4" }),
  either("bytes in the path that are no UTF-8", TARGET, get("/a\xffb"), { target: "/a%EF%BF%BDb" }),
  either("bytes in the query that are no UTF-8", TARGET, get("/x?\xff"), { target: "/x?%EF%BF%BD" }),
];

const ABSOLUTE_ROWS: readonly Row[] = [
  either("the absolute form", ABSOLUTE, get("http://h.test/x?y"), { target: "/x?y" }),
  either("the absolute form without a path", ABSOLUTE, get("http://h.test"), { target: "/" }),
  either("the absolute form with another host", ABSOLUTE, get("http://evil.test/x"), { target: "/x" }),
  either("the absolute form of https", ABSOLUTE, get("https://h.test/x"), { target: "/x" }),
  either("the absolute form in upper case", ABSOLUTE, get("HTTP://h.test/x"), { target: "/x" }),
  // Bun drops the authority before anybody sees it: what counts is the Host header.
  either("the absolute form with a user", ABSOLUTE, get("http://user@h.test/x"), { target: "/x" }),
  refuse("the absolute form of another scheme", ABSOLUTE, get("ftp://h.test/x")),
  refuse("the absolute form of a file", ABSOLUTE, get("file:///etc/passwd")),
  either("the absolute form without a host", ABSOLUTE, get("http:///x"), { target: "/x" }),
  refuse("a scheme without slashes", ABSOLUTE, get("http:x")),
  either("an asterisk with OPTIONS", "RFC 9112 §3.2.4", build("OPTIONS * HTTP/1.1"), { target: "/*" }),
];

export const REQUEST_LINE_ROWS: readonly Row[] = [
  ...METHOD_ROWS,
  ...VERSION_ROWS,
  ...SPACING_ROWS,
  ...TARGET_ROWS,
  ...RAW_BYTE_ROWS,
  ...ABSOLUTE_ROWS,
];
