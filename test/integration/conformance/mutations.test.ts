import { expect, test } from "bun:test";

import { eventually } from "../../../scripts/lib/eventually.ts";
import { createRandom, type Random } from "../../../scripts/lib/stage/random.ts";
import { openRaw } from "../../../scripts/lib/stage/raw-client.ts";
import { BARRIER_TARGET, startRecordingStage } from "../../support/recording-stage.ts";
import { parseStrictRequests, type StrictRequest } from "../../support/strict-request-parser.ts";

/** Mutated requests of one seed; each takes about a millisecond. */
const MUTATIONS = 1_500;
/** One character for the line that routes: another port could be somebody else's server. */
const ROUTE_MARK = "\u0100";
/** What parsers stumble over. */
const SPICES = [
  "\r",
  "\n",
  "\r\n",
  "\0",
  " ",
  "\t",
  ":",
  ",",
  ";",
  "0",
  "\x0b",
  "\x7f",
  "\xff",
  "\x85",
  "chunked",
  "HTTP/1.1",
] as const;

const HEAD = `Host: h.test\r\n${ROUTE_MARK}`;
const VALID: readonly [string, ...string[]] = [
  `GET /a/b?c=d HTTP/1.1\r\n${HEAD}Accept: */*\r\n\r\n`,
  `POST /a HTTP/1.1\r\n${HEAD}Content-Length: 11\r\nX: y\r\n\r\nhello world`,
  `PUT /a HTTP/1.1\r\n${HEAD}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n`,
  `PATCH /a HTTP/1.1\r\n${HEAD}Connection: close, X\r\nX: 1\r\nContent-Length: 2\r\n\r\nok`,
  `DELETE /%2F?%zz HTTP/1.1\r\n${HEAD}Cookie: a=b\r\n\r\n`,
];

function mutate(text: string, random: Random): string {
  let result = text;
  for (let edits = 1 + random.integer(3); edits > 0; edits--) {
    const at = random.integer(result.length + 1);
    const length = random.integer(9);
    const before = result.slice(0, at);
    switch (random.integer(5)) {
      case 0:
        result = before + result.slice(at + length);
        break;
      case 1:
        result = before + random.pick(SPICES) + result.slice(at);
        break;
      case 2:
        result = before + String.fromCharCode(random.integer(256)) + result.slice(at + 1);
        break;
      case 3:
        result = before + result.slice(at, at + length) + result.slice(at);
        break;
      default:
        result = before + result.slice(at, at + 1).toUpperCase() + result.slice(at + 1);
    }
  }
  return result;
}

/** What the client itself has sent, to a reader without leniency; undefined where it is nothing clear. */
function readStrictly(bytes: string): StrictRequest | undefined {
  try {
    const { requests, isComplete } = parseStrictRequests(bytes);
    return requests.length === 1 && isComplete ? requests[0] : undefined;
  } catch {
    return undefined;
  }
}

test.each([1, 2, 3, 4, 5])(
  "handler refuses a mutated request or forwards one and its body (seed %d)",
  async (seed) => {
    const random = createRandom(seed);
    await using stage = await startRecordingStage();
    const { proxy, upstream, route } = stage;
    let forwarded = 0;
    for (let i = 0; i < MUTATIONS; i++) {
      const bytes = mutate(random.pick(VALID), random).replaceAll(ROUTE_MARK, route);
      const connection = await openRaw(proxy.port);
      connection.write(Buffer.from(bytes, "latin1"));
      await stage.barrier();
      connection.destroy();
      await eventually(() => proxy.server.inFlight() === 0);
      const seen = upstream.take().requests.filter(({ target }) => target !== BARRIER_TARGET);
      const shown = `seed ${seed}, number ${i}: ${JSON.stringify(bytes)}`;
      if (seen.length > 1) throw new Error(`${seen.length} requests of one: ${shown}`);
      const [request] = seen;
      if (request === undefined) continue;
      forwarded++;
      const sent = readStrictly(bytes);
      if (sent !== undefined && (sent.body !== request.body || sent.method !== request.method)) {
        throw new Error(`${request.method} ${JSON.stringify(request.body)} of ${shown}`);
      }
    }
    // A good part is harmless: otherwise only refusing would be tested.
    expect(forwarded).toBeGreaterThan(MUTATIONS / 10);
  },
  60_000,
);
