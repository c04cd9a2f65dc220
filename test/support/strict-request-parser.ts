/** A request as the strict parser reads it. */
export interface StrictRequest {
  readonly method: string;
  readonly target: string;
  readonly headers: readonly (readonly [name: string, value: string])[];
  /** Without its framing, latin1. */
  readonly body: string;
}

/** The content of a stream of bytes: complete requests, and whether an incomplete one follows them. */
export interface StrictParse {
  readonly requests: readonly StrictRequest[];
  readonly isComplete: boolean;
}

/**
 * Parses HTTP/1.1 requests by the letter of RFC 9112, and nothing else: an independent judge of what a proxy sends. Written
 * for tests; shares no code with anything that it judges. Throws an Error for whatever two parsers could read in two
 * ways: bare CR or LF, odd names, two lengths, a length beside chunks, several Hosts, chunk extensions, trailers. DEL in a value is
 * left alone, as RFC 9110 §5.5 allows.
 *
 * @param bytes Everything that came over one connection, latin1.
 */
export function parseStrictRequests(bytes: string): StrictParse {
  const requests: StrictRequest[] = [];
  let rest = bytes;
  while (rest !== "") {
    const headEnd = rest.indexOf("\r\n\r\n");
    if (headEnd < 0) return { requests, isComplete: false };
    const [requestLine = "", ...lines] = rest.slice(0, headEnd).split("\r\n");
    const line = /^([!#$%&'*+\-.^_`|~0-9A-Za-z]+) (\/[\x21-\x7e]*) HTTP\/1\.1$/.exec(requestLine);
    if (line === null) throw new Error(`bad request line ${JSON.stringify(requestLine)}`);
    const headers = lines.map(parseHeaderLine);
    const body = readBody(headers, rest.slice(headEnd + 4));
    if (body === undefined) return { requests, isComplete: false };
    requests.push({ method: line[1] ?? "", target: line[2] ?? "", headers, body: body.data });
    rest = rest.slice(headEnd + 4 + body.length);
  }
  return { requests, isComplete: true };
}

function parseHeaderLine(line: string): readonly [string, string] {
  const match = /^([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*((?:[\x21-\xff](?:[ \t]*[\x21-\xff])*)?)[ \t]*$/.exec(line);
  if (match === null) throw new Error(`bad header line ${JSON.stringify(line)}`);
  return [(match[1] ?? "").toLowerCase(), match[2] ?? ""];
}

function readBody(
  headers: readonly (readonly [string, string])[],
  text: string,
): { readonly data: string; readonly length: number } | undefined {
  const values = (name: string): string[] => headers.filter(([key]) => key === name).map(([, value]) => value);
  if (values("host").length !== 1) throw new Error(`${values("host").length} Host headers`);
  const lengths = values("content-length");
  const codings = values("transfer-encoding");
  if (lengths.length + codings.length > 1) throw new Error("more than one framing");
  if (codings.length === 1) {
    if (codings[0] !== "chunked") throw new Error(`transfer coding ${codings[0]}`);
    return readChunks(text);
  }
  if (lengths.length === 0) return { data: "", length: 0 };
  if (!/^\d+$/.test(lengths[0] ?? "")) throw new Error(`length ${lengths[0]}`);
  const length = Number(lengths[0]);
  return text.length < length ? undefined : { data: text.slice(0, length), length };
}

function readChunks(text: string): { readonly data: string; readonly length: number } | undefined {
  let data = "";
  let position = 0;
  for (;;) {
    const lineEnd = text.indexOf("\r\n", position);
    if (lineEnd < 0) return undefined;
    const sizeText = text.slice(position, lineEnd);
    if (!/^[0-9A-Fa-f]+$/.test(sizeText)) throw new Error(`chunk size ${JSON.stringify(sizeText)}`);
    const size = Number.parseInt(sizeText, 16);
    const dataStart = lineEnd + 2;
    if (text.length < dataStart + size + 2) return undefined;
    if (text.slice(dataStart + size, dataStart + size + 2) !== "\r\n") throw new Error("no CRLF behind a chunk");
    data += text.slice(dataStart, dataStart + size);
    position = dataStart + size + 2;
    if (size === 0) return { data, length: position };
  }
}
