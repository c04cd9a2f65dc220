import { describe, expect, test } from "bun:test";
import { connect, createServer, type Server, type Socket } from "node:net";

import { systemClock } from "../../../src/clock.ts";
import type { ReadBytes } from "../../../src/host/kernel-files.ts";
import type { ReadOwnSockets } from "../../../src/host/own-sockets.ts";
import {
  createTcpTable,
  TCP_READ_INTERVAL_MS,
  TCP_TABLE_MAX_BYTES,
  type TcpState,
} from "../../../src/host/tcp-table.ts";
import { eventually } from "../../../scripts/lib/eventually.ts";
import { createFakeClock } from "../../../scripts/lib/stage/fake-clock.ts";
import { PYTHON_FILL_QUEUE, PYTHON_LISTEN, startPython } from "../../support/full-queue.ts";
import { createRandom } from "../../../scripts/lib/stage/random.ts";

const HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";
const LOCAL = "0100007F:1F90";
const LOCAL_V6 = "00000000000000000000000001000000:1F90";
/** The client's own connection: without one the table is not believed. */
const CLIENT = row(LOCAL, "0900007F:2222", "01");

function row(local: string, remote: string, state: string, inode = "4711", uid = "    0"): string {
  return `   0: ${local} ${remote} ${state} 00000000:00000000 00:00000000 00000000 ${uid}        0 ${inode} 1 0000 20 0\n`;
}

/** Tables of text in the place of the kernel's. */
function readerOf(tcp: string | undefined, tcp6: string | undefined): ReadBytes {
  return (path) => {
    const text = path.endsWith("6") ? tcp6 : tcp;
    return Promise.resolve(text === undefined ? undefined : new TextEncoder().encode(text));
  };
}

/** The inodes of the rows above. */
const ownSockets: ReadOwnSockets = () => Promise.resolve(new Set([4711, 9]));

function ask(read: ReadBytes, address: string, port: number): Promise<TcpState> {
  return createTcpTable({ clock: systemClock, read, ownSockets }).stateOf(address, port);
}

async function listen(host: string): Promise<{ server: Server; port: number; accepted: Promise<Socket> }> {
  const server = createServer({ allowHalfOpen: true });
  const accepted = new Promise<Socket>((resolve) => server.once("connection", resolve));
  await new Promise<void>((resolve) => server.listen(0, host, resolve));
  const address = server.address();
  return { server, port: typeof address === "object" && address !== null ? address.port : 0, accepted };
}

describe("TcpTable.stateOf, of real sockets", () => {
  test.each([
    ["127.0.0.1", "127.0.0.1", "127.0.0.1"],
    ["::1", "::1", "::1"],
    ["::", "::ffff:127.0.0.1", "127.0.0.1"],
    ["127.0.0.1", "127.0.0.1", "::ffff:127.0.0.1"],
  ])("a server on %s called at %s is established at %s, until the connection ends", async (host, called, asked) => {
    const { server, port, accepted } = await listen(host);
    const table = createTcpTable({ clock: systemClock });
    const socket = connect({ host: called, port, allowHalfOpen: true });
    try {
      const other = await accepted;
      expect(await table.stateOf(asked, port)).toBe("established");
      // The server has said all; the client has not read it yet.
      other.end();
      await eventually(async () => (await table.stateOf(asked, port)) === "established");
      socket.destroy();
      other.destroy();
      await eventually(async () => (await table.stateOf(asked, port)) !== "established");
    } finally {
      socket.destroy();
      server.close();
    }
  });

  test("a listener without a client has no connection", async () => {
    const { server, port } = await listen("127.0.0.1");
    // One connection of ours, so that the table can be believed.
    const other = await listen("127.0.0.1");
    const socket = connect({ host: "127.0.0.1", port: other.port });
    try {
      await other.accepted;
      expect(await createTcpTable({ clock: systemClock }).stateOf("127.0.0.1", port)).toBe("none");
    } finally {
      socket.destroy();
      server.close();
      other.server.close();
    }
  });

  test("fetch to a server that accepts and never answers is established, to one that never accepts connecting", async () => {
    const quiet = await listen("127.0.0.1");
    // Some of the script's own connections are established: its queue took them.
    const script = `${PYTHON_LISTEN}${PYTHON_FILL_QUEUE}\nprint(port, flush=True)\ntime.sleep(600)\n`;
    await using full = startPython(script);
    const port = Number(await full.says());
    const abort = new AbortController();
    const table = createTcpTable({ clock: systemClock });
    const calls = [
      fetch(`http://127.0.0.1:${quiet.port}/`, { signal: abort.signal, proxy: false }),
      fetch(`http://127.0.0.1:${port}/`, { signal: abort.signal, proxy: false }),
    ].map((call) => call.catch(() => undefined));
    try {
      await eventually(async () => (await table.stateOf("127.0.0.1", quiet.port)) === "established");
      await eventually(async () => (await table.stateOf("127.0.0.1", port)) === "connecting");
      // Without the process's descriptors the script's connections count as well.
      const blind = createTcpTable({ clock: systemClock, ownSockets: () => Promise.resolve(undefined) });
      expect(await blind.stateOf("127.0.0.1", port)).toBe("established");
    } finally {
      abort.abort();
      await Promise.all(calls);
      quiet.server.close();
    }
  });
});

describe("TcpTable.stateOf, with everything that the kernel may write", () => {
  const to = "0200007F:0050"; // 127.0.0.2:80

  test.each<[string, string, TcpState]>([
    ["ESTABLISHED", row(LOCAL, to, "01"), "established"],
    ["SYN_SENT", row(LOCAL, to, "02"), "connecting"],
    ["SYN_RECV", row(LOCAL, to, "03"), "none"],
    ["FIN_WAIT1 of a process", row(LOCAL, to, "04"), "established"],
    ["FIN_WAIT1 of a process with a long uid", row(LOCAL, to, "04", "9", "1000650000"), "established"],
    ["FIN_WAIT1 of nobody", row(LOCAL, to, "04", "0"), "none"],
    ["FIN_WAIT2 of nobody", row(LOCAL, to, "05", "0"), "none"],
    ["ESTABLISHED of nobody", row(LOCAL, to, "01", "0"), "none"],
    ["ESTABLISHED of another process", row(LOCAL, to, "01", "47110"), "none"],
    ["SYN_SENT of another process", row(LOCAL, to, "02", "47110"), "none"],
    ["CLOSE_WAIT of another process", row(LOCAL, to, "08", "471"), "none"],
    ["FIN_WAIT2 of another process", row(LOCAL, to, "05", "47110"), "none"],
    ["ESTABLISHED of another process, SYN_SENT", row(LOCAL, to, "01", "5") + row(LOCAL, to, "02"), "connecting"],
    ["SYN_SENT of another process, ESTABLISHED", row(LOCAL, to, "02", "5") + row(LOCAL, to, "01"), "established"],
    ["ESTABLISHED of another process, ESTABLISHED", row(LOCAL, to, "01", "5") + row(LOCAL, to, "01"), "established"],
    ["TIME_WAIT", row(LOCAL, to, "06", "0"), "none"],
    ["CLOSE", row(LOCAL, to, "07"), "none"],
    ["CLOSE_WAIT", row(LOCAL, to, "08"), "established"],
    ["LAST_ACK of nobody", row(LOCAL, to, "09", "0"), "none"],
    ["LISTEN", row(LOCAL, to, "0A"), "none"],
    ["CLOSING of a process", row(LOCAL, to, "0B"), "established"],
    ["SYN_SENT and ESTABLISHED", row(LOCAL, to, "02") + row(LOCAL, to, "01"), "established"],
    ["ESTABLISHED and SYN_SENT", row(LOCAL, to, "01") + row(LOCAL, to, "02"), "established"],
    ["the local address alone", row(to, "0300007F:0050", "01"), "none"],
    ["another port", row(LOCAL, "0200007F:0051", "01"), "none"],
    ["a row that is cut", row(LOCAL, to, "01").slice(0, 40), "none"],
  ])("%s", async (_, rows, expected) => {
    expect(await ask(readerOf(HEAD + CLIENT + rows, HEAD), "127.0.0.2", 80)).toBe(expected);
  });

  test("the row number of a large table, which moves the columns", async () => {
    const wide = row(LOCAL, to, "02").replace("   0:", "1234567:");
    expect(await ask(readerOf(HEAD + CLIENT + wide, HEAD), "127.0.0.2", 80)).toBe("connecting");
  });

  test.each([
    ["2001:db8::a1:0:0:2", ["B80D0120", "00000000", "0000A100", "02000000"]],
    ["fd00::1", ["000000FD", "00000000", "00000000", "01000000"]],
    ["::1", ["00000000", "00000000", "00000000", "01000000"]],
    ["1:2:3:4:5:6:7:8", ["02000100", "04000300", "06000500", "08000700"]],
    ["10.1.2.3", ["00000000", "00000000", "FFFF0000", "0302010A"]],
    ["::ffff:10.1.2.3", ["00000000", "00000000", "FFFF0000", "0302010A"]],
  ])("IPv6 address %s", async (address, words) => {
    const rows = row(LOCAL_V6, `${words.join("")}:01BB`, "02");
    expect(await ask(readerOf(HEAD + CLIENT, HEAD + rows), address, 443)).toBe("connecting");
    expect(await ask(readerOf(HEAD + CLIENT, HEAD + rows), address, 444)).toBe("none");
  });

  test.each<[string, string | undefined, string | undefined]>([
    ["no table", "", ""],
    ["tables that cannot be read", undefined, undefined],
    ["an IPv6 table that cannot be read", HEAD + CLIENT, undefined],
    ["heads alone: the client's own connection is missing", HEAD, HEAD],
    ["a table that is too long to be read whole", (HEAD + CLIENT).padEnd(TCP_TABLE_MAX_BYTES), HEAD],
  ])("unknown where there are %s", async (_, tcp, tcp6) => {
    expect(await ask(readerOf(tcp, tcp6), "127.0.0.2", 80)).toBe("unknown");
  });

  test("an established connection stays so in an incomplete table, and a table without IPv6 is complete", async () => {
    expect(await ask(readerOf(HEAD + row(LOCAL, to, "01"), undefined), "127.0.0.2", 80)).toBe("established");
    expect(await ask(readerOf(HEAD + CLIENT, ""), "127.0.0.2", 80)).toBe("none");
  });

  test("unknown for a name, and if reading throws", async () => {
    expect(await ask(readerOf(HEAD + CLIENT, HEAD), "sandbox.example", 80)).toBe("unknown");
    const failing = () => Promise.reject(new Error("no"));
    expect(await ask(failing, "127.0.0.2", 80)).toBe("unknown");
  });

  test.each<[string, ReadonlySet<number> | undefined, TcpState]>([
    ["cannot be told", undefined, "established"],
    ["have other numbers than the table", new Set([1, 2, 3]), "established"],
    ["are others in the table", new Set([8]), "none"],
  ])("a connection where the process's sockets %s", async (_, own, expected) => {
    const rows = HEAD + row(LOCAL, "0300007F:0050", "0A", "8") + row(LOCAL, to, "01");
    const table = createTcpTable({
      clock: systemClock,
      read: readerOf(rows, HEAD),
      ownSockets: () => Promise.resolve(own),
    });
    expect(await table.stateOf("127.0.0.2", 80)).toBe(expected);
  });

  test("unknown if finding the process's sockets throws", async () => {
    const failing = () => Promise.reject(new Error("no"));
    const read = readerOf(HEAD + row(LOCAL, to, "01"), HEAD);
    const table = createTcpTable({ clock: systemClock, read, ownSockets: failing });
    expect(await table.stateOf("127.0.0.2", 80)).toBe("unknown");
  });

  test("the process's sockets are found once per reading, and only if the table has a requested remote", async () => {
    let finds = 0;
    const table = createTcpTable({
      clock: systemClock,
      read: readerOf(HEAD + CLIENT + row(LOCAL, to, "01") + row(LOCAL, "0300007F:0050", "02"), HEAD),
      ownSockets: () => (finds++, ownSockets()),
    });
    expect(await table.stateOf("127.0.0.4", 80)).toBe("none");
    expect(finds).toBe(0);
    const asked = ["127.0.0.2", "127.0.0.3", "127.0.0.2", "127.0.0.4"].map((address) => table.stateOf(address, 80));
    expect(await Promise.all(asked)).toEqual(["established", "connecting", "established", "none"]);
    expect(finds).toBe(1);
  });

  test("any text is survived", async () => {
    const random = createRandom(7);
    const rows = HEAD + CLIENT + row(LOCAL, to, "01") + row(LOCAL, to, "04", "0");
    for (let round = 0; round < 500; round++) {
      const bytes = new TextEncoder().encode(rows);
      for (let change = 0; change < 8; change++) {
        bytes[random.integer(bytes.length)] = random.integer(256);
      }
      const cut = bytes.subarray(0, random.integer(bytes.length));
      expect(await ask(() => Promise.resolve(cut), "127.0.0.2", 80)).toBeString();
    }
  }, 20_000);
});

describe("TcpTable.openTo", () => {
  const to = "0200007F:0050"; // 127.0.0.2:80
  const openTo = (rows: string, own: ReadonlySet<number> | undefined = new Set([4711, 4712])) =>
    createTcpTable({
      clock: systemClock,
      read: readerOf(HEAD + rows, HEAD),
      ownSockets: () => Promise.resolve(own),
    }).openTo("127.0.0.2", 80);

  test("gives this process's connections that neither side has ended", async () => {
    const ended = ["02", "03", "04", "05", "06", "07", "08", "09", "0A", "0B"].map((state) => row(LOCAL, to, state));
    const others = row(LOCAL, to, "01", "5") + row(LOCAL, to, "01", "0") + row(LOCAL, "0200007F:0051", "01");
    const own = row(LOCAL, to, "01") + row(LOCAL, to, "01", "4712");
    expect(await openTo(ended.join("") + others + own)).toEqual(new Set([4711, 4712]));
    expect(await openTo(CLIENT + ended.join("") + others)).toEqual(new Set());
    expect(await openTo(CLIENT)).toEqual(new Set());
  });

  test.each<[string, string, ReadonlySet<number> | undefined]>([
    ["there are heads alone", "", new Set([4711])],
    ["this process's sockets are not told", CLIENT + row(LOCAL, to, "01"), undefined],
    ["this process's sockets have other numbers", CLIENT + row(LOCAL, to, "01"), new Set([1])],
    ["the table is cut", (CLIENT + row(LOCAL, to, "01")).padEnd(TCP_TABLE_MAX_BYTES), new Set([4711])],
  ])("is undefined where %s", async (_, rows, own) => {
    const table = createTcpTable({
      clock: systemClock,
      read: readerOf(HEAD + rows, HEAD),
      ownSockets: () => Promise.resolve(own),
    });
    expect(await table.openTo("127.0.0.2", 80)).toBeUndefined();
  });

  test("is undefined for a name, and where reading throws", async () => {
    const table = createTcpTable({ clock: systemClock, read: () => Promise.reject(new Error("no")), ownSockets });
    expect(await table.openTo("sandbox.example", 80)).toBeUndefined();
    expect(await table.openTo("127.0.0.2", 80)).toBeUndefined();
  });

  test("knows a real connection by the same number until its server ends it", async () => {
    const { server, port, accepted } = await listen("127.0.0.1");
    const table = createTcpTable({ clock: systemClock });
    const socket = connect({ host: "127.0.0.1", port, allowHalfOpen: true });
    try {
      const other = await accepted;
      const first = await table.openTo("127.0.0.1", port);
      expect(first?.size).toBe(1);
      expect(await table.openTo("127.0.0.1", port)).toEqual(first);
      other.end();
      await eventually(async () => (await table.openTo("127.0.0.1", port))?.size === 0);
      expect(await table.stateOf("127.0.0.1", port)).toBe("established");
    } finally {
      socket.destroy();
      server.close();
    }
  });
});

test("TcpTable reads once at a time, for any duration of a reading", async () => {
  const clock = createFakeClock();
  const readings: (() => void)[] = [];
  const read: ReadBytes = async () => {
    await new Promise<void>((resolve) => readings.push(resolve));
    return new TextEncoder().encode(HEAD + CLIENT);
  };
  const table = createTcpTable({ clock, read, ownSockets });
  const answers = [table.stateOf("127.0.0.2", 80)];
  clock.advance(0);
  await eventually(() => readings.length === 2);
  for (let second = 0; second < 5; second++) {
    answers.push(table.stateOf("127.0.0.2", 80));
    clock.advance(TCP_READ_INTERVAL_MS);
    await Bun.sleep(0);
  }
  expect(readings).toHaveLength(2);
  for (const end of readings.splice(0)) end();
  await eventually(() => readings.length === 2);
  for (const end of readings.splice(0)) end();
  expect(new Set(await Promise.all(answers))).toEqual(new Set<TcpState>(["none"]));
});

test("TcpTable reads once for all calls within a second, and after each of these calls", async () => {
  const clock = createFakeClock();
  let looks = 0;
  let rows = "";
  const read: ReadBytes = (path) => {
    if (!path.endsWith("6")) looks++;
    return Promise.resolve(new TextEncoder().encode(HEAD + CLIENT + rows));
  };
  const table = createTcpTable({ clock, read, ownSockets });
  const first = [table.stateOf("127.0.0.2", 80), table.stateOf("127.0.0.3", 80)];
  clock.advance(0);
  expect(await Promise.all(first)).toEqual(["none", "none"]);
  expect(looks).toBe(1);

  const second = Array.from({ length: 1_000 }, () => table.stateOf("127.0.0.2", 80));
  clock.advance(TCP_READ_INTERVAL_MS - 1);
  expect(looks).toBe(1);
  // Established after the question and before the look: the answer knows it.
  rows = row(LOCAL, "0200007F:0050", "01");
  const last = table.stateOf("127.0.0.2", 80);
  clock.advance(1);
  expect(new Set(await Promise.all([...second, last]))).toEqual(new Set<TcpState>(["established"]));
  expect(looks).toBe(2);
});
