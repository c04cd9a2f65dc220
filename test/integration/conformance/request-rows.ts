/** What may become of a raw request. */
export type Outcome =
  /** An answer of 4xx or 5xx, or a closed connection; the sandbox has seen nothing. */
  | "refused"
  /** Exactly one request reached the sandbox, with unambiguous framing and the body of the row. */
  | "forwarded";

/** One raw request and the only outcomes that are accepted. */
export interface RequestRow {
  readonly name: string;
  /** Where the rule stands, or what the technique is called. */
  readonly source: string;
  /** Bytes, latin1. `ROUTE` stands for the routing header line. */
  readonly raw: string;
  readonly accepts: readonly Outcome[];
  /** What the sandbox must have got as body, where it is forwarded; default: empty. */
  readonly body?: string;
  /** The client closes after the bytes: what is cut must not pass for whole. */
  readonly ends?: true;
}

const SMUGGLED = "GET /smuggled HTTP/1.1\r\nHost: x\r\nROUTE\r\n\r\n";
const REFUSED: readonly Outcome[] = ["refused"];
const FORWARDED: readonly Outcome[] = ["forwarded"];
const EITHER: readonly Outcome[] = ["refused", "forwarded"];

/** A POST with the given framing lines (each with its line end) and whatever follows the head. */
function post(framing: string, rest: string): string {
  return `POST /row HTTP/1.1\r\nHost: x\r\nROUTE\r\n${framing}\r\n${rest}`;
}

/** A GET with extra header lines. */
function get(lines: string): string {
  return `GET /row HTTP/1.1\r\nHost: x\r\nROUTE\r\n${lines}\r\n`;
}

const CHUNKS = "5\r\nhello\r\n0\r\n\r\n";

/** Transfer-Encoding lines that some parsers take for chunked and others do not, alone and beside a length. */
const ODD_CODINGS: readonly string[] = [
  "Transfer-Encoding: xchunked\r\n",
  "Transfer-Encoding: chunkedx\r\n",
  "Transfer-Encoding: chunked, identity\r\n",
  "Transfer-Encoding: identity\r\n",
  "Transfer-Encoding: identity, chunked\r\n",
  "Transfer-Encoding: gzip, chunked\r\n",
  "Transfer-Encoding: chunked, chunked\r\n",
  "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
  "Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n",
  "Transfer-Encoding: x\r\nTransfer-Encoding: chunked\r\n",
  "Transfer-Encoding : chunked\r\n",
  "Transfer-Encoding\t: chunked\r\n",
  " Transfer-Encoding: chunked\r\n",
  "Transfer-Encoding:\u000bchunked\r\n",
  "Transfer-Encoding: \u000bchunked\r\n",
  "Transfer-Encoding: chunked\u000b\r\n",
  "Transfer-Encoding: chun\u0000ked\r\n",
  "Transfer-Encoding:\r\n chunked\r\n",
  'Transfer-Encoding: "chunked"\r\n',
  "Transfer-Encoding: chunked;q=1\r\n",
  "Transfer-Encoding:\r\n",
  "Transfer-Encoding\r\n: chunked\r\n",
  "X: y\nTransfer-Encoding: chunked\r\n",
  "X: y\rTransfer-Encoding: chunked\r\n",
];

const codingRows = ODD_CODINGS.flatMap((coding): RequestRow[] => [
  {
    name: `coding ${JSON.stringify(coding)}`,
    source: "RFC 9112 §6.1, §6.3; request smuggling TE.TE",
    raw: post(coding, CHUNKS + SMUGGLED),
    accepts: REFUSED,
  },
  {
    name: `coding ${JSON.stringify(coding)} beside a length`,
    source: "RFC 9112 §6.3 item 3; request smuggling CL.TE and TE.CL",
    raw: post(`Content-Length: 5\r\n${coding}`, CHUNKS + SMUGGLED),
    accepts: REFUSED,
  },
]);

const ODD_LENGTHS: readonly string[] = [
  "+5",
  "-5",
  "5 5",
  "5,5",
  "5, 5",
  "5,6",
  "0x5",
  "5.0",
  "5e0",
  "",
  "five",
  "5;",
  "5\u0000",
  "\u00b35",
  "9".repeat(19),
  "9".repeat(400),
];

const lengthRows: readonly RequestRow[] = [
  ...ODD_LENGTHS.map((length) => ({
    name: `length ${JSON.stringify(length.slice(0, 30))}`,
    source: "RFC 9110 §8.6, RFC 9112 §6.3 item 5",
    raw: post(`Content-Length: ${length}\r\n`, `hello${SMUGGLED}`),
    accepts: REFUSED,
  })),
  {
    name: "two different lengths",
    source: "RFC 9112 §6.3 item 5",
    raw: post("Content-Length: 5\r\nContent-Length: 6\r\n", "hello!"),
    accepts: REFUSED,
  },
  {
    name: "two equal lengths",
    source: "RFC 9112 §6.3 item 5 (MAY merge)",
    raw: post("Content-Length: 5\r\nContent-Length: 5\r\n", "hello"),
    accepts: REFUSED,
  },
  {
    name: "a length with white space around",
    source: "RFC 9112 §5.1",
    raw: post("Content-Length:   5\t \r\n", "hello"),
    accepts: FORWARDED,
    body: "hello",
  },
  {
    name: "a length with leading zeros",
    source: "RFC 9110 §8.6 (1*DIGIT)",
    raw: post("Content-Length: 0005\r\n", "hello"),
    accepts: EITHER,
    body: "hello",
  },
  {
    name: "a plain length",
    source: "RFC 9112 §6.2",
    raw: post("Content-Length: 5\r\n", "hello"),
    accepts: FORWARDED,
    body: "hello",
  },
  {
    name: "a name in odd case",
    source: "RFC 9110 §5.1",
    raw: post("cONTENT-lENGTH: 5\r\n", "hello"),
    accepts: FORWARDED,
    body: "hello",
  },
  { name: "no framing", source: "RFC 9112 §6.3 item 7", raw: post("", ""), accepts: FORWARDED },
  { name: "length 0", source: "RFC 9112 §6.3", raw: post("Content-Length: 0\r\n", ""), accepts: FORWARDED },
  {
    name: "a body that is cut",
    source: "RFC 9112 §8",
    raw: post("Content-Length: 500\r\n", "hello"),
    accepts: REFUSED,
    ends: true,
  },
  {
    name: "a large body that is cut",
    source: "RFC 9112 §8",
    raw: post("Content-Length: 500000\r\n", "hello"),
    accepts: REFUSED,
    ends: true,
  },
  {
    name: "a length with underscore",
    source: "header aliasing",
    raw: post("Content_Length: 5\r\n", ""),
    accepts: FORWARDED,
  },
];

/** Name, the chunks, what is accepted, and the body where it is not `hello`. */
const CHUNKED_BODIES: readonly (readonly [string, string, readonly Outcome[], string?])[] = [
  ["a plain chunk", "5\r\nhello\r\n0\r\n\r\n", FORWARDED],
  ["several chunks", "1\r\nh\r\n4\r\nello\r\n0\r\n\r\n", FORWARDED],
  ["hex in both cases", "00A\r\nhellohello\r\n0\r\n\r\n", FORWARDED, "hellohello"],
  ["leading zeros", "00005\r\nhello\r\n000\r\n\r\n", FORWARDED],
  ["a chunk extension", "5;a=b\r\nhello\r\n0\r\n\r\n", EITHER],
  ["a chunk extension with LF", "5;a\nb\r\nhello\r\n0\r\n\r\n", REFUSED],
  ["a quoted extension", '5;a="x\r\n0\r\n\r\n"\r\nhello\r\n0\r\n\r\n', REFUSED],
  ["0x", "0x5\r\nhello\r\n0\r\n\r\n", REFUSED],
  ["a sign", "+5\r\nhello\r\n0\r\n\r\n", REFUSED],
  ["a negative size", "-5\r\nhello\r\n0\r\n\r\n", REFUSED],
  ["a space before", " 5\r\nhello\r\n0\r\n\r\n", REFUSED],
  ["a space behind", "5 \r\nhello\r\n0\r\n\r\n", EITHER],
  ["no digits", "\r\nhello\r\n0\r\n\r\n", REFUSED],
  ["a letter", "g\r\nhello\r\n0\r\n\r\n", REFUSED],
  ["a size beyond 64 bits", "FFFFFFFFFFFFFFFF5\r\nhello\r\n0\r\n\r\n", REFUSED],
  ["a size of 2^53", "20000000000000\r\nhello", REFUSED],
  ["a bare LF behind the size", "5\nhello\r\n0\r\n\r\n", REFUSED],
  ["a bare LF behind the data", "5\r\nhello\n0\r\n\r\n", REFUSED],
  ["data longer than the size", "4\r\nhello\r\n0\r\n\r\n", REFUSED],
  ["data shorter than the size", "6\r\nhello\r\n0\r\n\r\n", REFUSED],
  ["a NUL behind the size", "5\u0000\r\nhello\r\n0\r\n\r\n", REFUSED],
  ["a trailer", "5\r\nhello\r\n0\r\nX-Trailer: 1\r\n\r\n", EITHER],
  ["a trailer that routes", "5\r\nhello\r\n0\r\nOpenSandbox-Ingress-To: other-1\r\n\r\n", EITHER],
  ["a trailer with framing", "5\r\nhello\r\n0\r\nContent-Length: 5\r\n\r\n", EITHER],
];

const chunkRows: readonly RequestRow[] = CHUNKED_BODIES.map(([name, chunks, accepts, body = "hello"]) => ({
  name: `chunks: ${name}`,
  source: "RFC 9112 §7.1",
  raw: post("Transfer-Encoding: chunked\r\n", chunks),
  accepts,
  body,
  // What is not whole would be waited for; the client's leaving ends that.
  ends: true,
}));

const requestLine = (line: string, accepts: readonly Outcome[], source: string): RequestRow => ({
  name: `request line ${JSON.stringify(line)}`,
  source,
  raw: `${line}\r\nHost: x\r\nROUTE\r\n\r\n`,
  accepts,
});

const lineRows: readonly RequestRow[] = [
  requestLine("GET  /row HTTP/1.1", REFUSED, "RFC 9112 §3 (single SP)"),
  requestLine("GET /row  HTTP/1.1", REFUSED, "RFC 9112 §3"),
  requestLine("GET /a b HTTP/1.1", REFUSED, "RFC 9112 §3.2"),
  requestLine("GET /row HTTP/1.1 ", REFUSED, "RFC 9112 §3"),
  requestLine(" GET /row HTTP/1.1", REFUSED, "RFC 9112 §3"),
  requestLine("GET\t/row HTTP/1.1", REFUSED, "RFC 9112 §3"),
  requestLine("GET /row\tHTTP/1.1", REFUSED, "RFC 9112 §3"),
  requestLine("get /row HTTP/1.1", REFUSED, "RFC 9110 §9.1 (case-sensitive)"),
  requestLine("GET /row HTTP/2.0", REFUSED, "RFC 9112 §2.3"),
  requestLine("GET /row HTTP/0.9", REFUSED, "RFC 9112 §2.3"),
  requestLine("GET /row HTTP/1.10", REFUSED, "RFC 9112 §2.3"),
  requestLine("GET /row HTTP/11", REFUSED, "RFC 9112 §2.3"),
  requestLine("GET /row http/1.1", REFUSED, "RFC 9112 §2.3"),
  requestLine("GET /row", REFUSED, "HTTP/0.9"),
  requestLine("GET HTTP/1.1", REFUSED, "RFC 9112 §3"),
  requestLine("/row HTTP/1.1", REFUSED, "RFC 9112 §3"),
  requestLine("FOOBAR /row HTTP/1.1", REFUSED, "unknown method"),
  requestLine("GE\u0000T /row HTTP/1.1", REFUSED, "RFC 9110 §5.6.2"),
  requestLine("OPTIONS * HTTP/1.1", REFUSED, "RFC 9112 §3.2.4"),
  requestLine("CONNECT /row HTTP/1.1", REFUSED, "RFC 9110 §9.3.6"),
  requestLine("CONNECT evil.test:443 HTTP/1.1", REFUSED, "RFC 9110 §9.3.6"),
  requestLine("TRACE /row HTTP/1.1", REFUSED, "RFC 9110 §9.3.8"),
  requestLine("GET evil HTTP/1.1", REFUSED, "RFC 9112 §3.2"),
  requestLine("GET /row#fragment HTTP/1.1", REFUSED, "RFC 9112 §3.2"),
  requestLine("GET ?x HTTP/1.1", REFUSED, "RFC 9112 §3.2"),
  requestLine("GET http://x/row HTTP/1.1", EITHER, "RFC 9112 §3.2.2"),
  requestLine("GET /row?a=b HTTP/1.1", FORWARDED, "RFC 9112 §3.2.1"),
  requestLine("GET /row/%2e%2e/row HTTP/1.1", FORWARDED, "RFC 3986 §6.2.2.3"),
  requestLine(`GET /${"a".repeat(8000)} HTTP/1.1`, FORWARDED, "RFC 9112 §3 (8000 octets)"),
  requestLine(`GET /${"a".repeat(70_000)} HTTP/1.1`, REFUSED, "RFC 9110 §15.5.15"),
  requestLine("\r\nGET /row HTTP/1.1", EITHER, "RFC 9112 §2.2"),
  requestLine("HEAD /row HTTP/1.1", FORWARDED, "RFC 9110 §9.3.2"),
  requestLine("DELETE /row HTTP/1.1", FORWARDED, "RFC 9110 §9.3.5"),
  requestLine("OPTIONS /row HTTP/1.1", FORWARDED, "RFC 9110 §9.3.7"),
  ...controls(0x7f).map((char) =>
    requestLine(`GET /ro${char}w HTTP/1.1`, char === "\u007f" ? EITHER : REFUSED, "RFC 9112 §3.2"),
  ),
];

/** Every control character but those that end a line in the place where they are put, and DEL. */
function controls(extra: number): string[] {
  const codes = Array.from({ length: 0x20 }, (_, code) => code).filter((code) => code !== 0x0d && code !== 0x0a);
  return [...codes, extra].map((code) => String.fromCharCode(code));
}

const headerRows: readonly RequestRow[] = [
  ...controls(0x7f).map((char) => ({
    name: `header value with ${JSON.stringify(char)}`,
    source: "RFC 9110 §5.5",
    raw: get(`X-Odd: a${char}b\r\n`),
    // A tab is white space; the others should be refused, and must not reach the sandbox as they are.
    accepts: char === "\t" ? FORWARDED : EITHER,
  })),
  ...[...controls(0x7f), ...'"(),/;<=>?@[\\]{} '.split(""), "\u00e9"].map((char) => ({
    name: `header name with ${JSON.stringify(char)}`,
    source: "RFC 9110 §5.1",
    raw: get(`X-O${char}dd: 1\r\n`),
    accepts: REFUSED,
  })),
  { name: "a bare CR in a value", source: "RFC 9112 §2.2", raw: get("X-Odd: a\rb\r\n"), accepts: REFUSED },
  {
    name: "a bare LF between lines",
    source: "RFC 9112 §2.2",
    raw: "GET /row HTTP/1.1\nHost: x\nROUTE\n\n",
    accepts: REFUSED,
  },
  { name: "a folded line", source: "RFC 9112 §5.2", raw: get("X-Odd: a\r\n b\r\n"), accepts: REFUSED },
  { name: "a line without colon", source: "RFC 9112 §5", raw: get("X-Odd\r\n"), accepts: REFUSED },
  { name: "an empty name", source: "RFC 9112 §5.1", raw: get(": a\r\n"), accepts: REFUSED },
  { name: "a space before the colon", source: "RFC 9112 §5.1", raw: get("X-Odd : a\r\n"), accepts: REFUSED },
  {
    name: "a first line that begins with a space",
    source: "RFC 9112 §2.2",
    raw: `GET /row HTTP/1.1\r\n X: y\r\nHost: x\r\nROUTE\r\n\r\n`,
    accepts: REFUSED,
  },
  { name: "an empty value", source: "RFC 9110 §5.5", raw: get("X-Empty:\r\n"), accepts: FORWARDED },
  {
    name: "bytes above 127 in a value",
    source: "RFC 9110 §5.5 (obs-text)",
    raw: get("X-Odd: \u00e9\u00ff\r\n"),
    accepts: FORWARDED,
  },
  {
    name: "headers above the limit",
    source: "RFC 6585 §5",
    raw: get(`X-Long: ${"a".repeat(70_000)}\r\n`),
    accepts: REFUSED,
  },
  {
    name: "many headers",
    source: "RFC 9110 §5.4",
    raw: get(Array.from({ length: 90 }, (_, i) => `X-${i}: 1\r\n`).join("")),
    accepts: FORWARDED,
  },
  {
    name: "very many headers",
    source: "RFC 9110 §5.4",
    raw: get(Array.from({ length: 2000 }, (_, i) => `X-${i}: 1\r\n`).join("")),
    accepts: EITHER,
  },
];

const hostRows: readonly RequestRow[] = [
  { name: "no Host", source: "RFC 9112 §3.2", raw: "GET /row HTTP/1.1\r\nROUTE\r\n\r\n", accepts: REFUSED },
  ...[
    "Host: a\r\nHost: b\r\n",
    "Host: x\r\nHost: x\r\n",
    "Host: a, b\r\n",
    "Host: u@evil\r\n",
    "Host: a/b\r\n",
    "Host: a?b\r\n",
    "Host: a#b\r\n",
    "Host: a b\r\n",
    "Host: a:b\r\n",
    "Host: a:1:2\r\n",
    "Host: [::1\r\n",
    "Host: [x]\r\n",
    "Host: a\u0000\r\n",
    "Host: \u00e9\r\n",
    "Host: a%2fb\r\n",
    "Host : x\r\n",
    "Host: a\\b\r\n",
  ].map((lines) => ({
    name: `Host ${JSON.stringify(lines)}`,
    source: "RFC 9112 §3.2, RFC 9110 §7.2; routing confusion",
    raw: `GET /row HTTP/1.1\r\n${lines}ROUTE\r\n\r\n`,
    accepts: REFUSED,
  })),
  ...["Host: x:80\r\n", "Host: [::1]:80\r\n", "Host: 127.0.0.1\r\n", "hOsT: x\r\n", "Host:x\r\n"].map((lines) => ({
    name: `Host ${JSON.stringify(lines)}`,
    source: "RFC 9112 §3.2",
    raw: `GET /row HTTP/1.1\r\n${lines}ROUTE\r\n\r\n`,
    accepts: FORWARDED,
  })),
  {
    name: "an empty Host",
    source: "RFC 9112 §3.2",
    raw: "GET /row HTTP/1.1\r\nHost:\r\nROUTE\r\n\r\n",
    accepts: EITHER,
  },
  {
    name: "HTTP/1.0 without Host",
    source: "RFC 9112 §3.2",
    raw: "GET /row HTTP/1.0\r\nROUTE\r\n\r\n",
    accepts: EITHER,
  },
];

const connectionRows: readonly RequestRow[] = [
  ["host", ""],
  ["content-length", "Content-Length: 5\r\n"],
  ["transfer-encoding", "Transfer-Encoding: chunked\r\n"],
  ["close, opensandbox-ingress-to", "Content-Length: 5\r\n"],
  ["x-forwarded-for, x-forwarded-host", ""],
  ["keep-alive, TE", "TE: trailers\r\n"],
  [",,,", ""],
  ['"x"', ""],
  ["upgrade", "Upgrade: h2c\r\nHTTP2-Settings: AAAA\r\n"],
  ["upgrade", "Upgrade: websocket\r\n"],
].map(([connection = "", lines = ""]) => {
  const hasBody = /content-length|chunked/i.test(lines);
  return {
    name: `Connection: ${connection} with ${JSON.stringify(lines)}`,
    source: "RFC 9110 §7.6.1; hop-by-hop abuse",
    raw: post(`Connection: ${connection}\r\n${lines}`, lines.includes("chunked") ? CHUNKS : hasBody ? "hello" : ""),
    accepts: FORWARDED,
    body: hasBody ? "hello" : "",
  };
});

const otherRows: readonly RequestRow[] = [
  {
    name: "a body on GET",
    source: "RFC 9110 §9.3.1",
    raw: `GET /row HTTP/1.1\r\nHost: x\r\nROUTE\r\nContent-Length: 5\r\n\r\nhello`,
    accepts: REFUSED,
  },
  {
    name: "chunks on GET",
    source: "RFC 9110 §9.3.1",
    raw: `GET /row HTTP/1.1\r\nHost: x\r\nROUTE\r\nTransfer-Encoding: chunked\r\n\r\n${CHUNKS}`,
    accepts: REFUSED,
  },
  {
    name: "a body on HEAD",
    source: "RFC 9110 §9.3.2",
    raw: `HEAD /row HTTP/1.1\r\nHost: x\r\nROUTE\r\nContent-Length: 5\r\n\r\nhello`,
    accepts: REFUSED,
  },
  { name: "length 0 on GET", source: "RFC 9110 §8.6", raw: get("Content-Length: 0\r\n"), accepts: FORWARDED },
  {
    name: "an expectation that nobody knows",
    source: "RFC 9110 §10.1.1",
    raw: post("Expect: the-unexpected\r\nContent-Length: 5\r\n", "hello"),
    accepts: EITHER,
    body: "hello",
  },
  { name: "a pipelined request", source: "RFC 9112 §9.3.2", raw: get("") + SMUGGLED, accepts: EITHER },
  {
    name: "chunks from HTTP/1.0",
    source: "RFC 9112 §6.1",
    raw: `POST /row HTTP/1.0\r\nHost: x\r\nROUTE\r\nTransfer-Encoding: chunked\r\n\r\n${CHUNKS}`,
    accepts: EITHER,
    body: "hello",
  },
  {
    name: "two routing headers",
    source: "routing confusion",
    raw: get("OpenSandbox-Ingress-To: other-1\r\n"),
    accepts: REFUSED,
  },
  {
    name: "garbage",
    source: "robustness",
    raw: "\u0016\u0003\u0001\u0002\u0000\u0001\u0000\u0001\u00fc\u0003\u0003\r\n\r\n",
    accepts: REFUSED,
  },
  { name: "the HTTP/2 preface", source: "RFC 9113 §3.4", raw: "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", accepts: REFUSED },
];

/** All rows. */
export const REQUEST_ROWS: readonly RequestRow[] = [
  ...codingRows,
  ...lengthRows,
  ...chunkRows,
  ...lineRows,
  ...headerRows,
  ...hostRows,
  ...connectionRows,
  ...otherRows,
];
