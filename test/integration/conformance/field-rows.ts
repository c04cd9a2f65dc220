import { build, CONTROLS, either, forward, refuse, type Row } from "./row.ts";

const FIELD = "RFC 9112 §5";
const VALUE = "RFC 9110 §5.5";
const get = (...headerLines: string[]): string => build("GET /x HTTP/1.1", headerLines);

/** Delimiters of RFC 9110 §5.6.2, and others that no name has. */
const NOT_IN_NAMES = '"(),/;<=>?@[\\]{} \t\x7f\x80\xe9\xff'.split("").concat(CONTROLS);

const NAME_ROWS: readonly Row[] = [
  ...NOT_IN_NAMES.map((char) => refuse(`a field name with ${JSON.stringify(char)}`, `${FIELD}.1`, get(`X${char}Y: 1`))),
  ..."!#$%&'*+-.^_`|~"
    .split("")
    .map((char) =>
      forward(`a field name with ${char}`, "RFC 9110 §5.6.2", get(`X${char}Y: 1`), { headers: { [`x${char}y`]: "1" } }),
    ),
  refuse("a space before the colon", `${FIELD}.1`, get("X : 1")),
  refuse("a tab before the colon", `${FIELD}.1`, get("X\t: 1")),
  refuse("an empty field name", FIELD, get(": 1")),
  refuse("a field without a colon", FIELD, get("X")),
  refuse("whitespace before the first field", "RFC 9112 §2.2", "GET /x HTTP/1.1\r\n Host: h.test\r\n@ROUTE\r\n"),
  refuse("a line folded with a space", `${FIELD}.2`, get("X: 1", " 2")),
  refuse("a line folded with a tab", `${FIELD}.2`, get("X: 1", "\t2")),
  refuse("a folded empty line", `${FIELD}.2`, get("X: 1", " ")),
  refuse(
    "a folded Transfer-Encoding",
    "TE.TE",
    build("POST /x HTTP/1.1", ["Transfer-Encoding:", " chunked"], "0\r\n\r\n"),
  ),
];

const VALUE_ROWS: readonly Row[] = [
  refuse("a CR in a value", VALUE, get("X: a\rb")),
  refuse("an LF in a value", VALUE, get("X: a\nb")),
  refuse("a CR at the end of a value", VALUE, get("X: a\r")),
  ...[...CONTROLS, "\x7f"].map((char) => either(`${JSON.stringify(char)} in a value`, VALUE, get(`X: a${char}b`), {})),
  forward("an empty value", FIELD, get("X:"), { headers: { x: "" } }),
  forward("no space before a value", FIELD, get("X:1"), { headers: { x: "1" } }),
  forward("whitespace around a value", FIELD, get("X: \t 1 2 \t "), { headers: { x: "1 2" } }),
  forward("obs-text in a value", VALUE, get("X: \xe4\xf6\xff"), { headers: { x: "\xe4\xf6\xff" } }),
  forward("UTF-8 in a value", VALUE, get("X: \xc3\xa4"), { headers: { x: "\xc3\xa4" } }),
  forward("the same field twice", "RFC 9110 §5.3", get("X: 1", "X: 2"), { headers: { x: "1, 2" } }),
  forward("cookies on two lines", "RFC 6265 §5.4, RFC 9113 §8.2.3", get("Cookie: a=1", "Cookie: b=2"), {
    headers: { cookie: "a=1; b=2" },
  }),
  forward("a long value", FIELD, get(`X: ${"v".repeat(8_000)}`), { headers: { x: "v".repeat(8_000) } }),
  refuse("a head above the limit", "RFC 6585 §5", get(`X: ${"v".repeat(100_000)}`), 431),
  forward("ninety fields", "RFC 9110 §5.4", get(...Array.from({ length: 90 }, (_, i) => `X-${i}: 1`)), {
    headers: { "x-89": "1" },
  }),
  refuse("fields without end", "RFC 6585 §5", get(...Array.from({ length: 3_000 }, (_, i) => `X-${i}: 1`)), 431),
];

const END_ROWS: readonly Row[] = [
  refuse("a bare LF behind a field", "RFC 9112 §2.2", "GET /x HTTP/1.1\r\nHost: h.test\n@ROUTE\r\n"),
  refuse("a bare LF as the empty line", "RFC 9112 §2.2", "GET /x HTTP/1.1\r\nHost: h.test\r\n@ROUTE\n"),
  refuse("LF LF at the end", "RFC 9112 §2.2", "GET /x HTTP/1.1\r\nHost: h.test\r\n@ROUTEX: 1\n\n"),
  refuse("CR LF LF at the end", "RFC 9112 §2.2", "GET /x HTTP/1.1\r\nHost: h.test\r\n@ROUTEX: 1\r\n\n"),
  refuse("CR CR LF behind a field", "RFC 9112 §2.2", "GET /x HTTP/1.1\r\nHost: h.test\r\r\n@ROUTE\r\n"),
];

const HOST = "RFC 9112 §3.2";
const withHost = (...lines: string[]): string =>
  `GET /x HTTP/1.1\r\n${lines.map((line) => `${line}\r\n`).join("")}@ROUTE\r\n`;

const HOST_ROWS: readonly Row[] = [
  refuse("no Host", HOST, withHost()),
  refuse("a Host with a NUL", HOST, withHost("Host: a\0")),
  refuse("a Host with a space before the colon", HOST, withHost("Host : h.test")),
  forward("a Host in odd case", HOST, withHost("hOsT:h.test"), { headers: { "x-forwarded-host": "h.test" } }),
  refuse("two Hosts", HOST, withHost("Host: a.test", "Host: b.test")),
  refuse("two equal Hosts", HOST, withHost("Host: a.test", "Host: a.test")),
  refuse("two Hosts, one of them empty", HOST, withHost("Host: a.test", "Host:")),
  either("an empty Host", HOST, withHost("Host:"), { target: "/x" }),
  ...[
    "user@evil",
    "user:pw@evil",
    "a/b",
    "a?b",
    "a#b",
    "a\\b",
    "a b",
    "a,b",
    "a:b",
    "a:99999999",
    "a:-1",
    "a:1:2",
    "[::1",
    "::1]",
    "[::1]x",
    "[x]",
    ":80",
    "a\tb",
    "a%20b",
    "<a>",
    "a;b",
    "a=b",
    "\xe4.test",
  ].map((host) => refuse(`Host ${host}`, HOST, withHost(`Host: ${host}`))),
  ...[
    "a.test",
    "A.TEST",
    "a.test:80",
    "a.test:",
    "127.0.0.1",
    "127.0.0.1:8080",
    "[::1]",
    "[::1]:80",
    "a_b.test",
    "a--b.test",
    "a.test.",
  ].map((host) =>
    forward(`Host ${host}`, HOST, withHost(`Host: ${host}`), { target: "/x", headers: { "x-forwarded-host": host } }),
  ),
];

const HOP = "RFC 9110 §7.6.1";
const PRIVATE = "contract §2";
const CONNECTION_ROWS: readonly Row[] = [
  ...[
    "Keep-Alive: timeout=5",
    "Proxy-Connection: keep-alive",
    "TE: trailers",
    "Trailer: X",
    "Upgrade: h2c",
    "Proxy-Authorization: Basic eA==",
  ].map((line) => {
    const name = line.slice(0, line.indexOf(":")).toLowerCase();
    return forward(`${name} stays here`, HOP, get(line), { headers: { [name]: undefined } });
  }),
  forward("a header that Connection names", HOP, get("Connection: X-Named", "X-Named: 1"), {
    headers: { "x-named": undefined },
  }),
  forward("a header that Connection names in another case", HOP, get("Connection: close, X-NAMED", "x-named: 1"), {
    headers: { "x-named": undefined },
  }),
  forward("two Connection headers", HOP, get("Connection: X-A", "Connection: X-B", "X-A: 1", "X-B: 1"), {
    headers: { "x-a": undefined, "x-b": undefined },
  }),
  forward(
    "h2c upgrade",
    "h2c smuggling",
    get("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABk"),
    {
      headers: { upgrade: undefined, "http2-settings": undefined },
    },
  ),
  forward("an empty Connection", HOP, get("Connection: ,,,"), { target: "/x" }),
  forward("a quoted option of Connection", HOP, get('Connection: "x"'), { target: "/x" }),
  forward(
    "a WebSocket handshake with POST",
    "RFC 6455 §4.1",
    build("POST /x HTTP/1.1", ["Connection: Upgrade", "Upgrade: websocket", "Content-Length: 2"], "hi"),
    { body: "hi", headers: { upgrade: undefined } },
  ),
  forward("Connection: host", "hop-by-hop abuse", get("Connection: host"), { target: "/x" }),
  forward("Connection: x-forwarded-for", "hop-by-hop abuse", get("Connection: x-forwarded-for"), {
    headers: { "x-forwarded-for": "127.0.0.1" },
  }),
  forward(
    "Connection: content-length",
    "hop-by-hop abuse",
    build("POST /x HTTP/1.1", ["Connection: content-length", "Content-Length: 5"], "hello"),
    {
      body: "hello",
      headers: { "content-length": "5" },
    },
  ),
  forward(
    "Connection: transfer-encoding",
    "hop-by-hop abuse",
    build(
      "POST /x HTTP/1.1",
      ["Connection: transfer-encoding", "Transfer-Encoding: chunked"],
      "5\r\nhello\r\n0\r\n\r\n",
    ),
    { body: "hello" },
  ),
  ...["OpenSandbox-Secure-Access: t", "OpenSandbox-Access-Renew: skip", "OPEN-SANDBOX-INGRESS: sb-1"].map((line) => {
    const name = line.slice(0, line.indexOf(":")).toLowerCase();
    return forward(`${name} stays here`, PRIVATE, get(line), { headers: { [name]: undefined } });
  }),
  forward(
    "X-Forwarded-* of a stranger",
    "design, step 6",
    get("X-Forwarded-For: 6.6.6.6", "X-Forwarded-Host: e", "X-Forwarded-Proto: https", "X-Forwarded-Prefix: /p"),
    {
      headers: {
        "x-forwarded-for": "127.0.0.1",
        "x-forwarded-host": "h.test",
        "x-forwarded-proto": "http",
        "x-forwarded-prefix": undefined,
      },
    },
  ),
  forward("X_Forwarded_For", "underscore spoofing", get("X_Forwarded_For: 6.6.6.6"), {
    headers: { "x-forwarded-for": "127.0.0.1" },
  }),
  refuse("two routes", "contract §2", get("OpenSandbox-Ingress-To: other-80"), 400),
];

export const FIELD_ROWS: readonly Row[] = [...NAME_ROWS, ...VALUE_ROWS, ...END_ROWS, ...HOST_ROWS, ...CONNECTION_ROWS];
