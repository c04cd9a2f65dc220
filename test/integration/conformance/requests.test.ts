import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { createServer, type Server } from "node:net";

import { eventually } from "../../support/eventually.ts";
import { type ProxyHarness, startProxy } from "../../support/proxy-harness.ts";
import { createRandom, type Random } from "../../support/random.ts";
import { openRaw, rawRequest } from "../../support/raw-client.ts";
import { parseStrictRequests, type StrictRequest } from "../../support/strict-request-parser.ts";
import { REQUEST_ROWS, type RequestRow } from "./request-rows.ts";

/** What came over one connection to the sandbox since the row began, as it came. */
interface Stream {
  bytes: string;
  answered: number;
}

const streams = new Set<Stream>();
let sandbox: Server;
let sandboxPort = 0;
let proxy: ProxyHarness;

beforeAll(async () => {
  sandbox = createServer((socket) => {
    const stream: Stream = { bytes: "", answered: 0 };
    streams.add(stream);
    socket.on("error", () => {});
    socket.on("data", (data) => {
      stream.bytes += data.toString("latin1");
      const requests = readStream(stream.bytes);
      // What cannot be read is not answered; the row is judged by the bytes.
      if (requests === undefined) return void socket.destroy();
      for (; stream.answered < requests.length; stream.answered++) {
        const isHead = requests[stream.answered]?.method === "HEAD";
        socket.write(`HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\n${isHead ? "" : "ok"}`);
      }
    });
  });
  await new Promise<void>((resolve) => sandbox.listen(0, "127.0.0.1", resolve));
  const address = sandbox.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  sandboxPort = address.port;
  proxy = startProxy();
  proxy.provider.set({ name: "sb" });
});

afterAll(async () => {
  await proxy[Symbol.asyncDispose]();
  sandbox.close();
});

/** The requests in the bytes; undefined where the strict parser refuses them. */
function readStream(bytes: string): readonly StrictRequest[] | undefined {
  try {
    return parseStrictRequests(bytes).requests;
  } catch {
    return undefined;
  }
}

const withRoute = (raw: string): string => raw.replaceAll("ROUTE", `OpenSandbox-Ingress-To: sb-${sandboxPort}`);

/**
 * Sends the bytes and waits for what becomes of them: an answer or the end. Then everything that can still be under way to the
 * sandbox is flushed out by a request of our own behind it, and what the sandbox got is judged.
 */
async function play(
  raw: string,
  options: { readonly ends: boolean },
): Promise<{ status: number | undefined; requests: StrictRequest[] }> {
  for (const stream of streams) Object.assign(stream, { bytes: "", answered: 0 });
  const connection = await openRaw(proxy.port);
  connection.socket.write(Buffer.from(withRoute(raw), "latin1"));
  if (options.ends) connection.socket.end();
  const received = await connection.until((text) =>
    /^HTTP\/1\.1 (?!100)\d{3}[^]*?\r\n\r\n/.test(text.replace(/^HTTP\/1\.1 100[^]*?\r\n\r\n/, "")),
  );
  const status = /HTTP\/1\.1 (?!100)(\d{3})/.exec(received)?.[1];
  connection.destroy();
  await eventually(() => proxy.server.inFlight() === 0);
  await rawRequest(proxy.port, withRoute("GET /sentinel HTTP/1.1\r\nHost: x\r\nROUTE\r\n\r\n"));
  // Throws where what the sandbox got could be read in two ways.
  const requests = [...streams].flatMap(({ bytes }) => parseStrictRequests(bytes).requests);
  return {
    status: status === undefined ? undefined : Number(status),
    requests: requests.filter(({ target }) => target !== "/sentinel"),
  };
}

function outcomeOf(status: number | undefined, requests: readonly StrictRequest[]): string {
  if (requests.length > 1) return `${requests.length} requests`;
  if (requests.length === 1) return "forwarded";
  return status === undefined || status >= 400 ? "refused" : `answered ${status} though nothing reached the sandbox`;
}

describe("conformance of requests", () => {
  test("REQUEST_ROWS are a few hundred, each named once and with its source", () => {
    expect(REQUEST_ROWS.length).toBeGreaterThan(250);
    expect(new Set(REQUEST_ROWS.map(({ name }) => name)).size).toBe(REQUEST_ROWS.length);
    expect(REQUEST_ROWS.filter(({ source }) => source === "")).toEqual([]);
  });

  test.each(REQUEST_ROWS.map((row): [string, RequestRow] => [`${row.name} (${row.source})`, row]))(
    "%s",
    async (_name, row) => {
      const { status, requests } = await play(row.raw, { ends: row.ends === true });
      const outcome = outcomeOf(status, requests);
      expect(row.accepts.map(String)).toContain(outcome);
      if (outcome === "forwarded") {
        expect(requests[0]?.body).toBe(row.body ?? "");
        expect(requests[0]?.target).not.toContain("smuggled");
      }
    },
  );
});

/** A valid request whose bytes are then changed here and there. */
function mutate(random: Random): string {
  const body = random.text("abc\r\n01", random.integer(12));
  const framing = random.pick([
    `Content-Length: ${body.length}\r\n\r\n${body}`,
    `Transfer-Encoding: chunked\r\n\r\n${body.length === 0 ? "" : `${body.length.toString(16)}\r\n${body}\r\n`}0\r\n\r\n`,
    "\r\n",
  ]);
  const method = random.pick(["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD"]);
  let raw = `${method} /row?${random.text("ab%2F&=", 5)} HTTP/1.1\r\nHost: x\r\nROUTE\r\nX-Extra: ${random.text("ab ,;", 6)}\r\n${framing}`;
  const pieces = [
    "\r\n",
    "\n",
    "\r",
    " ",
    "\t",
    ":",
    "\u0000",
    "0",
    "5",
    ";",
    ",",
    "chunked",
    "Content-Length: 3\r\n",
    "Transfer-Encoding: chunked\r\n",
    "GET /smuggled HTTP/1.1\r\n",
    "\u00ff",
  ] as const;
  for (let changes = random.integer(4); changes > 0; changes--) {
    const at = random.integer(raw.length + 1);
    raw = raw.slice(0, at) + (random.integer(3) === 0 ? "" : random.pick(pieces)) + raw.slice(at + random.integer(3));
  }
  return raw;
}

describe("mutated requests", () => {
  const SEEDS = [1, 2, 3, 4];
  const MUTANTS = 150;

  test.each(SEEDS)(
    "seed %d: whatever is sent, the sandbox gets nothing that can be read in two ways",
    async (seed) => {
      const random = createRandom(seed);
      for (let n = 0; n < MUTANTS; n++) {
        const raw = mutate(random);
        const { status, requests } = await play(raw, { ends: true }).catch((error: unknown) => {
          throw new Error(`mutant ${n}: ${JSON.stringify(raw)}: ${String(error)}`);
        });
        const outcome = outcomeOf(status, requests);
        if (!["refused", "forwarded"].includes(outcome))
          throw new Error(`mutant ${n}: ${JSON.stringify(raw)}: ${outcome}`);
      }
    },
    120_000,
  );
});
