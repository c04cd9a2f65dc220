import { build, cut, either, forward, late, refuse, type Row, wait } from "./row.ts";

const LENGTH = "RFC 9110 §8.6, RFC 9112 §6.3";
const CODING = "RFC 9112 §6.1";
const CHUNK = "RFC 9112 §7.1";
const post = (headerLines: readonly string[], body: string): string => build("POST /x HTTP/1.1", headerLines, body);
const chunked = (body: string): string => post(["Transfer-Encoding: chunked"], body);
/** A request within a request: must never be read as one. */
const SMUGGLED = "GET /smuggled HTTP/1.1\r\nHost: h.test\r\n@ROUTE\r\n";

const BAD_LENGTHS = [
  "+5",
  "-5",
  "-0",
  "0x5",
  "5.0",
  "5e0",
  "5,5",
  "5, 5",
  "5,6",
  "5 6",
  "5a",
  "a",
  "5;",
  '"5"',
  "",
  "1_0",
  "\x0b5",
  "5\x0b",
  "\xa05",
  "\xd9\xa5",
  "five",
  "9999999999999999999",
  "18446744073709551621",
  "9223372036854775808",
  "99999999999999999999999999",
  "4294967301 ",
];

const LENGTH_ROWS: readonly Row[] = [
  forward("Content-Length", LENGTH, post(["Content-Length: 5"], "hello"), { body: "hello" }),
  forward("Content-Length with whitespace around", LENGTH, post(["Content-Length: \t5 \t"], "hello"), {
    body: "hello",
  }),
  forward("Content-Length: 0", LENGTH, post(["Content-Length: 0"], ""), { body: "" }),
  forward("POST without a body", "RFC 9112 §6.3", post([], ""), { body: "" }),
  either("Content-Length with leading zeros", LENGTH, post(["Content-Length: 005"], "hello"), { body: "hello" }),
  either("Content-Length with many leading zeros", LENGTH, post([`Content-Length: ${"0".repeat(30)}5`], "hello"), {
    body: "hello",
  }),
  ...BAD_LENGTHS.filter((text) => text.trim() === text).map((text) =>
    refuse(`Content-Length ${JSON.stringify(text)}`, LENGTH, post([`Content-Length: ${text}`], "hello")),
  ),
  refuse("two equal Content-Lengths", LENGTH, post(["Content-Length: 5", "Content-Length: 5"], "hello")),
  refuse(
    "two Content-Lengths, the first shorter",
    "CL.CL",
    post(["Content-Length: 5", "Content-Length: 50"], `hello${SMUGGLED}`),
  ),
  refuse(
    "two Content-Lengths, the first longer",
    "CL.CL",
    post(["Content-Length: 50", "Content-Length: 5"], `hello${SMUGGLED}`),
  ),
  refuse("two Content-Lengths, one in lower case", "CL.CL", post(["Content-Length: 5", "content-length: 6"], "hello!")),
  refuse("Content-Length with a space before the colon", "CL.0", post(["Content-Length : 5"], "hello")),
  refuse("Content-Length with a NUL", LENGTH, post(["Content-Length: 5\0"], "hello")),
  either(
    "a Content_Length beside Content-Length",
    "underscore",
    post(["Content_Length: 9", "Content-Length: 5"], "hello"),
    {
      body: "hello",
    },
  ),
  forward("Content-Length in odd case", "RFC 9110 §5.1", post(["cONTENT-lENGTH: 5"], "hello"), { body: "hello" }),
  forward("a Content_Length alone", "underscore", post(["Content_Length: 5"], ""), { body: "" }),
  wait("a large body that is not whole", "RFC 9112 §8", post(["Content-Length: 500000"], "hello")),
  wait("a body that is short by one", LENGTH, post(["Content-Length: 6"], "hello")),
];

/** Each must be refused, with and without a Content-Length beside it (PortSwigger's TE.TE list and its kin). */
const BAD_CODING_LINES = [
  "Transfer-Encoding: identity",
  "Transfer-Encoding: gzip",
  "Transfer-Encoding: gzip, chunked",
  "Transfer-Encoding: chunked, gzip",
  "Transfer-Encoding: chunked, identity",
  "Transfer-Encoding: identity, chunked",
  "Transfer-Encoding: chunked, chunked",
  "Transfer-Encoding: chunked;q=1",
  "Transfer-Encoding: chunked; foo",
  "Transfer-Encoding: xchunked",
  "Transfer-Encoding: chunkedx",
  "Transfer-Encoding: chunk",
  "Transfer-Encoding: cow",
  'Transfer-Encoding: "chunked"',
  "Transfer-Encoding: 'chunked'",
  "Transfer-Encoding: chun ked",
  "Transfer-Encoding: \x0bchunked",
  "Transfer-Encoding: chunked\x0b",
  "Transfer-Encoding: \x0cchunked",
  "Transfer-Encoding: \xa0chunked",
  "Transfer-Encoding: chunked\x01",
  "Transfer-Encoding: chunked\0",
  "Transfer-Encoding: \0chunked",
  "Transfer-Encoding:",
  "Transfer-Encoding : chunked",
  "Transfer-Encoding\t: chunked",
  "Transfer-Encoding\x0b: chunked",
  "Transfer-Encoding\0: chunked",
  " Transfer-Encoding: chunked",
  "\tTransfer-Encoding: chunked",
  "X: y\r\n Transfer-Encoding: chunked",
  "X: y\nTransfer-Encoding: chunked",
  "X: y\rTransfer-Encoding: chunked",
  "X: y\r\rTransfer-Encoding: chunked",
  "Transfer-Encoding:\n chunked",
  "Transfer-Encoding:\r\n chunked",
  "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
  "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
  "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
  "Transfer-Encoding: chunked\r\nTransfer-Encoding: cow",
  "Transfer-Encoding: cow\r\nTransfer-Encoding: chunked",
  "Transfer-Encoding: chunked\r\ntransfer-encoding: x",
];

const CODING_ROWS: readonly Row[] = [
  // Empty elements of a list are ignored (RFC 9110 §5.6.1.2).
  ...["chunked", "Chunked", "CHUNKED", "\tchunked", "chunked \t", "chunked,", ",chunked"].map((value) =>
    forward(
      `Transfer-Encoding ${JSON.stringify(value)}`,
      `${CODING}, RFC 9110 §10.1.4`,
      post([`Transfer-Encoding: ${value}`], "5\r\nhello\r\n0\r\n\r\n"),
      { body: "hello" },
    ),
  ),
  ...BAD_CODING_LINES.flatMap((line) => [
    refuse(JSON.stringify(line), `${CODING}, TE.TE`, post([line], "5\r\nhello\r\n0\r\n\r\n")),
    refuse(
      `${JSON.stringify(line)} beside a Content-Length`,
      `${CODING}, TE.CL`,
      post([line, "Content-Length: 4"], `5c\r\n${SMUGGLED}\r\n0\r\n\r\n`),
    ),
  ]),
  refuse(
    "Content-Length before chunked",
    "CL.TE, RFC 9112 §6.3",
    post(["Content-Length: 6", "Transfer-Encoding: chunked"], "0\r\n\r\nG"),
  ),
  refuse(
    "chunked before Content-Length",
    "TE.CL, RFC 9112 §6.3",
    post(["Transfer-Encoding: chunked", "Content-Length: 3"], `8\r\n${SMUGGLED}`),
  ),
  refuse(
    "both, and both agree",
    "RFC 9112 §6.3",
    post(["Content-Length: 5", "Transfer-Encoding: chunked"], "0\r\n\r\n"),
  ),
  refuse(
    "both, Content-Length: 0",
    "CL.0",
    post(["Content-Length: 0", "Transfer-Encoding: chunked"], `0\r\n\r\n${SMUGGLED}`),
  ),
  either("a Transfer_Encoding", "underscore", post(["Transfer_Encoding: chunked", "Content-Length: 5"], "hello"), {
    body: "hello",
  }),
  either(
    "chunked in HTTP/1.0",
    "RFC 9112 §6.1",
    build("POST /x HTTP/1.0", ["Transfer-Encoding: chunked"], "5\r\nhello\r\n0\r\n\r\n"),
    { body: "hello" },
  ),
];

/** Behind `Transfer-Encoding: chunked`. */
const BAD_CHUNKS = [
  "0x5\r\nhello\r\n0\r\n\r\n",
  "+5\r\nhello\r\n0\r\n\r\n",
  "-5\r\nhello\r\n0\r\n\r\n",
  " 5\r\nhello\r\n0\r\n\r\n",
  "5 \r\nhello\r\n0\r\n\r\n",
  "5\t\r\nhello\r\n0\r\n\r\n",
  "5\x0b\r\nhello\r\n0\r\n\r\n",
  "5_0\r\nhello\r\n0\r\n\r\n",
  "5.0\r\nhello\r\n0\r\n\r\n",
  "g\r\nhello\r\n0\r\n\r\n",
  "\r\nhello\r\n0\r\n\r\n",
  ";\r\nhello\r\n0\r\n\r\n",
  "5\nhello\n0\n\n",
  "5\nhello\r\n0\r\n\r\n",
  "5\rhello\r\n0\r\n\r\n",
  "5\r\rhello\r\n0\r\n\r\n",
  "5\0\r\nhello\r\n0\r\n\r\n",
  "5;\nx\r\nhello\r\n0\r\n\r\n",
  "5;a\nb\r\nhello\r\n0\r\n\r\n",
  "5;a\rb\r\nhello\r\n0\r\n\r\n",
  "5;a\0\r\nhello\r\n0\r\n\r\n",
  "5\r\nhelloX\r\n0\r\n\r\n",
  "5\r\nhelloXX0\r\n\r\n",
  "5\r\nhello\n0\r\n\r\n",
  "5\r\nhello\r0\r\n\r\n",
  "5\r\nhello0\r\n\r\n",
  "6\r\nhello\r\n0\r\n\r\n",
  "4\r\nhello\r\n0\r\n\r\n",
  "5\r\nhello\r\n-0\r\n\r\n",
  "5\r\nhello\r\n0x0\r\n\r\n",
  "10000000000000005\r\nhello\r\n0\r\n\r\n",
  "ffffffffffffffff\r\nhello\r\n0\r\n\r\n",
  "fffffffffffffffb\r\nhello\r\n0\r\n\r\n",
  "100000000000000000000005\r\nhello\r\n0\r\n\r\n",
];

/** Behind the chunks of `hello`. */
const BAD_ENDS = ["0\r\nX\r\n\r\n", "0\r\n X: 1\r\n\r\n", "0\r\nX : 1\r\n\r\n", "0\n\n", "0\r\n\n", "0\r\nXX"];

const CHUNK_ROWS: readonly Row[] = [
  forward("one chunk", CHUNK, chunked("5\r\nhello\r\n0\r\n\r\n"), { body: "hello" }),
  forward("many chunks", CHUNK, chunked("1\r\nh\r\n2\r\nel\r\n2\r\nlo\r\n0\r\n\r\n"), { body: "hello" }),
  forward("no chunk", CHUNK, chunked("0\r\n\r\n"), { body: "" }),
  forward("a size in lower case", CHUNK, chunked("a\r\n0123456789\r\n0\r\n\r\n"), { body: "0123456789" }),
  forward("a size in upper case", CHUNK, chunked("A\r\n0123456789\r\n0\r\n\r\n"), { body: "0123456789" }),
  forward("chunks with line ends in them", CHUNK, chunked("4\r\n\r\n\r\n\r\n0\r\n\r\n"), { body: "\r\n\r\n" }),
  forward("a chunk that looks like the last", CHUNK, chunked("5\r\n0\r\n\r\n\r\n0\r\n\r\n"), { body: "0\r\n\r\n" }),
  either("a size with leading zeros", CHUNK, chunked("0005\r\nhello\r\n0\r\n\r\n"), { body: "hello" }),
  either("a last chunk of several zeros", CHUNK, chunked("5\r\nhello\r\n000\r\n\r\n"), { body: "hello" }),
  either("an extension", `${CHUNK}.1`, chunked("5;a\r\nhello\r\n0\r\n\r\n"), { body: "hello" }),
  either("an extension with a value", `${CHUNK}.1`, chunked("5;a=b\r\nhello\r\n0;c=d\r\n\r\n"), { body: "hello" }),
  either("an extension with a quoted value", `${CHUNK}.1`, chunked('5;a="b\r\nc"\r\nhello\r\n0\r\n\r\n'), {
    body: "hello",
  }),
  either("an endless extension", "CVE-2024-39884 and kin", chunked(`5;${"a".repeat(50_000)}\r\nhello\r\n0\r\n\r\n`), {
    body: "hello",
  }),
  late("a trailer", `${CHUNK}.2`, chunked("5\r\nhello\r\n0\r\nX-Trailer: 1\r\n\r\n"), {
    body: "hello",
    headers: { "x-trailer": undefined },
  }),
  late(
    "a trailer that routes",
    "RFC 9110 §6.5.1",
    chunked("5\r\nhello\r\n0\r\nOpenSandbox-Ingress-To: other-1\r\n\r\n"),
    {
      body: "hello",
    },
  ),
  late("a Content-Length as trailer", "RFC 9110 §6.5.1", chunked("5\r\nhello\r\n0\r\nContent-Length: 50\r\n\r\n"), {
    body: "hello",
    headers: { "content-length": undefined },
  }),
  ...BAD_ENDS.map((end) =>
    late(`chunks that end with ${JSON.stringify(end)}`, CHUNK, chunked(`5\r\nhello\r\n${end}`), { body: "hello" }),
  ),
  ...BAD_CHUNKS.map((body) => cut(`chunks ${JSON.stringify(body)}`, CHUNK, chunked(body))),
  wait("a chunk of 2^53 bytes", CHUNK, chunked("20000000000000\r\nhello")),
  wait("chunks without an end", CHUNK, chunked("5\r\nhel")),
];

const METHODS_WITH_BODIES: readonly Row[] = [
  ...["GET", "HEAD"].flatMap((method) => [
    refuse(
      `${method} with a body`,
      "RFC 9110 §9.3.1, CL.0",
      build(`${method} /x HTTP/1.1`, ["Content-Length: 5"], "hello"),
      400,
    ),
    refuse(
      `${method} with a request as body`,
      "CL.0",
      build(`${method} /x HTTP/1.1`, [`Content-Length: ${SMUGGLED.length + 20}`], `${SMUGGLED}${"x".repeat(60)}`),
      400,
    ),
    refuse(
      `${method} with a chunked body`,
      "RFC 9110 §9.3.1",
      build(`${method} /x HTTP/1.1`, ["Transfer-Encoding: chunked"], "5\r\nhello\r\n0\r\n\r\n"),
      400,
    ),
    forward(
      `${method} with Content-Length: 0`,
      "RFC 9110 §8.6",
      build(`${method} /x HTTP/1.1`, ["Content-Length: 0"]),
      {
        method,
        body: "",
      },
    ),
  ]),
  ...["DELETE", "OPTIONS", "PUT", "PATCH"].flatMap((method) => [
    forward(`${method} with a body`, "RFC 9110 §9.3", build(`${method} /x HTTP/1.1`, ["Content-Length: 5"], "hello"), {
      method,
      body: "hello",
    }),
    forward(
      `${method} with a chunked body`,
      "RFC 9110 §9.3",
      build(`${method} /x HTTP/1.1`, ["Transfer-Encoding: chunked"], "5\r\nhello\r\n0\r\n\r\n"),
      { method, body: "hello" },
    ),
  ]),
  forward("Expect: 100-continue", "RFC 9110 §10.1.1", post(["Expect: 100-continue", "Content-Length: 5"], "hello"), {
    body: "hello",
    headers: { expect: undefined },
  }),
  either("another expectation", "RFC 9110 §10.1.1", post(["Expect: 200-ok", "Content-Length: 5"], "hello"), {
    body: "hello",
    headers: { expect: undefined },
  }),
  // Bun closes the connection, whatever has become of the first.
  late("a pipelined request", "RFC 9112 §9.3.2", `${build("GET /x HTTP/1.1")}${SMUGGLED}`, { target: "/x" }),
  forward("a body with line ends and NULs", "RFC 9112 §6", post(["Content-Length: 8"], "\r\n\r\n\0\xff\r\n"), {
    body: "\r\n\r\n\0\xff\r\n",
  }),
  forward("a request as a body", "RFC 9112 §6", post([`Content-Length: 24`], "GET /smuggled HTTP/1.1\r\n"), {
    body: "GET /smuggled HTTP/1.1\r\n",
  }),
];

export const FRAMING_ROWS: readonly Row[] = [...LENGTH_ROWS, ...CODING_ROWS, ...CHUNK_ROWS, ...METHODS_WITH_BODIES];
