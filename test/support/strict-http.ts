/** A request as a strict reader of RFC 9112 understands it. */
export interface StrictRequest {
  readonly method: string;
  readonly target: string;
  /** Lower-cased names, values without surrounding whitespace, in order. */
  readonly headers: readonly (readonly [string, string])[];
  readonly framing: "none" | "length" | "chunked";
  /** The content, its framing removed; latin1. */
  readonly body: string;
}

/** The bytes are no request that every reader would take for the same. */
export class StrictHttpError extends Error {
  override readonly name = "StrictHttpError";
}

const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
/** Printable; of what no URI may have (RFC 3986 §2) what `fetch` leaves as it is in a query. */
const TARGET = /^\/[!$%&'()*+,\-./0-9:;=?@A-Z_a-z~[\]|^`{}"<>\\]*$/;
/** DEL is no control character that any reader takes for a delimiter (RFC 9110 §5.5). */
const FIELD_VALUE = /^[\t\x20-\xff]*$/;
const LINE_END = "\r\n";

/**
 * Reads the requests at the beginning of what a client has sent over a connection, latin1, independently of any parser in
 * use and with no leniency: whatever RFC 9112 lets a recipient repair is an error here. Gives the whole requests; a
 * started one that is not whole yet is `rest`.
 *
 * Throws StrictHttpError.
 */
export function parseStrictly(text: string): { readonly requests: readonly StrictRequest[]; readonly rest: string } {
  const requests: StrictRequest[] = [];
  let rest = text;
  while (rest !== "") {
    const parsed = parseOne(rest);
    if (parsed === undefined) break;
    requests.push(parsed.request);
    rest = rest.slice(parsed.length);
  }
  return { requests, rest };
}

function parseOne(text: string): { readonly request: StrictRequest; readonly length: number } | undefined {
  const headEnd = text.indexOf(LINE_END + LINE_END);
  if (headEnd < 0) return undefined;
  const [requestLine = "", ...lines] = text.slice(0, headEnd).split(LINE_END);
  const [method = "", target = "", version, ...more] = requestLine.split(" ");
  if (!TOKEN.test(method)) throw new StrictHttpError(`method ${JSON.stringify(method)}`);
  if (!TARGET.test(target)) throw new StrictHttpError(`target ${JSON.stringify(target)}`);
  if (version !== "HTTP/1.1" || more.length > 0)
    throw new StrictHttpError(`request line ${JSON.stringify(requestLine)}`);
  const headers = lines.map(parseField);
  const hosts = headers.filter(([name]) => name === "host");
  if (hosts.length !== 1) throw new StrictHttpError(`${hosts.length} Host headers`);
  const content = parseContent(headers, text.slice(headEnd + 4));
  if (content === undefined) return undefined;
  const { framing, body } = content;
  return { request: { method, target, headers, framing, body }, length: headEnd + 4 + content.length };
}

function parseField(line: string): readonly [string, string] {
  const colon = line.indexOf(":");
  const name = line.slice(0, Math.max(0, colon));
  const value = line.slice(colon + 1);
  if (!TOKEN.test(name) || !FIELD_VALUE.test(value)) throw new StrictHttpError(`field ${JSON.stringify(line)}`);
  return [name.toLowerCase(), value.replace(/^[ \t]+|[ \t]+$/g, "")];
}

interface Content {
  readonly framing: StrictRequest["framing"];
  readonly body: string;
  readonly length: number;
}

/** RFC 9112 §6.3, without the cases in which a recipient has to choose. */
function parseContent(headers: StrictRequest["headers"], text: string): Content | undefined {
  const valuesOf = (wanted: string): string[] => headers.filter(([name]) => name === wanted).map(([, value]) => value);
  const lengths = valuesOf("content-length");
  const codings = valuesOf("transfer-encoding");
  if (lengths.length + codings.length > 1) throw new StrictHttpError("framed more than once");
  const [coding] = codings;
  if (coding !== undefined) {
    if (coding !== "chunked") throw new StrictHttpError(`transfer coding ${JSON.stringify(coding)}`);
    return parseChunks(text);
  }
  const [digits] = lengths;
  if (digits === undefined) return { framing: "none", body: "", length: 0 };
  if (!/^\d{1,15}$/.test(digits)) throw new StrictHttpError(`Content-Length ${JSON.stringify(digits)}`);
  const length = Number(digits);
  return text.length < length ? undefined : { framing: "length", body: text.slice(0, length), length };
}

function parseChunks(text: string): Content | undefined {
  let body = "";
  let position = 0;
  for (;;) {
    const lineEnd = text.indexOf("\n", position);
    if (lineEnd < 0) return undefined;
    const line = text.slice(position, lineEnd + 1);
    const match = /^([0-9A-Fa-f]{1,12})\r\n$/.exec(line);
    if (match === null) throw new StrictHttpError(`chunk size ${JSON.stringify(line)}`);
    const size = Number.parseInt(match[1] ?? "", 16);
    const end = lineEnd + 1 + size;
    if (text.length < end + 2) return undefined;
    // After the last chunk there must be no trailers, either.
    if (text.slice(end, end + 2) !== LINE_END) throw new StrictHttpError("no line end behind a chunk");
    body += text.slice(lineEnd + 1, end);
    position = end + 2;
    if (size === 0) return { framing: "chunked", body, length: position };
  }
}
