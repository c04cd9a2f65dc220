// bench-pools.ts: which ways to ask keep more idle connections than Bun's 64; `scripts/bench` describes it.
//
// Servers are asked in turn, several times. Each way whose last round opens no connections has a pool that is large
// enough. Only connections are counted, so nothing here depends on the machine's speed.
import { mkdtempSync, rmSync } from "node:fs";
import { Agent, get } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { formatTable } from "./lib/bench/tables.ts";

const ROUNDS = 3;
const ANSWER = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/** A server of the experiment, by its TCP port or its Unix socket. */
interface Place {
  readonly port: number;
  readonly socket: string;
  readonly session: Bun.FetchSession;
}

type Ask = (place: Place) => Promise<unknown>;

const read = async (answer: Promise<Response>): Promise<string> => (await answer).text();
const url = ({ port }: Place, host = "127.0.0.1"): string => `http://${host}:${port}/`;
const largeSession = new Bun.FetchSession({ keepAlive: { maxIdleSockets: 1_000 } });
const agent = new Agent({ keepAlive: true });

const WAYS: Readonly<Record<string, Ask>> = {
  fetch: (place) => read(fetch(url(place))),
  "a session for each server": (place) => read(fetch(url(place), { session: place.session })),
  "a session with maxIdleSockets: 1000": (place) => read(fetch(url(place), { session: largeSession })),
  "two names of the address": (place) =>
    read(fetch(url(place, place.port % 2 === 0 ? "127.0.0.1" : "[::ffff:127.0.0.1]"))),
  "two tls configurations, without TLS": (place) =>
    read(fetch(url(place), { tls: { serverName: `server${place.port % 2}` } })),
  "a proxy for each server": (place) => read(fetch("http://any.test/", { proxy: url(place) })),
  preconnect(place) {
    fetch.preconnect(url(place));
    return read(fetch(url(place)));
  },
  "Unix sockets": (place) => read(fetch("http://any.test/", { unix: place.socket })),
  "node:http with an Agent": (place) =>
    new Promise((resolve, reject) => {
      get(url(place), { agent }, (answer) => answer.resume().on("end", resolve)).on("error", reject);
    }),
};

let connections = 0;
const socket = {
  open: () => void connections++,
  data: (peer: Bun.Socket) => void peer.write(ANSWER),
};

/** Connections of the last round. */
async function countLast(ask: Ask, places: readonly Place[]): Promise<number> {
  let before = 0;
  for (let round = 0; round < ROUNDS; round++) {
    before = connections;
    for (const place of places) await ask(place);
  }
  return connections - before;
}

const COUNTS = [64, 65, 128, 129, 300];
const folder = mkdtempSync(join(tmpdir(), "ingress-bench-pools-"));
try {
  const rows = [["opened in the last round, of", ...COUNTS.map(String)]];
  for (const [name, ask] of Object.entries(WAYS)) {
    const row = [name];
    for (const count of COUNTS) {
      const listeners = Array.from({ length: count }, (_, index) => {
        const path = join(folder, `${rows.length}-${count}-${index}`);
        const [tcp, unix] = [Bun.listen({ hostname: "::", port: 0, socket }), Bun.listen({ unix: path, socket })];
        return { tcp, unix, place: { port: tcp.port, socket: path, session: new Bun.FetchSession() } };
      });
      row.push(
        `${await countLast(
          ask,
          listeners.map(({ place }) => place),
        )}`,
      );
      for (const { tcp, unix } of listeners) {
        tcp.stop(true);
        unix.stop(true);
      }
    }
    rows.push(row);
  }
  console.log(`Bun ${Bun.version}\n${formatTable(rows)}`);
} finally {
  rmSync(folder, { recursive: true, force: true });
}
process.exit(0); // Idle connections would keep the process alive.
