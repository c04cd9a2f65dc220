import { endianness } from "node:os";

import { parseAddress } from "../address.ts";
import type { Clock } from "../clock.ts";
import { type ReadBytes, readBytes } from "./kernel-files.ts";
import { type ReadOwnSockets, readOwnSockets } from "./own-sockets.ts";
import { indexTcpTable, type TcpIndex, toTcpKey } from "./tcp-rows.ts";

/** The sockets of this network namespace (proc_pid_net(5)): IPv4's, and those of IPv6 with IPv4-mapped addresses. */
const TCP_FILES = ["/proc/self/net/tcp", "/proc/self/net/tcp6"] as const;

/**
 * Maximum number of bytes read of one file: about 110,000 rows of 150 bytes. For 20,000 rows, the kernel takes 20 ms
 * off the event loop, and indexing takes 3.5 ms on it; so the largest table takes about 20 ms there.
 */
export const TCP_TABLE_MAX_BYTES = 16 * 1024 * 1024;

/**
 * Least time between the starts of two readings, in milliseconds. An answer comes at most this late, plus the time of
 * the reading.
 */
export const TCP_READ_INTERVAL_MS = 1_000;

/**
 * The best state of this process's connections to an address and port, from the kernel:
 * - `established`: one is open, or was open and a process still has it
 * - `connecting`: all wait for the other side's first answer
 * - `none`: there is no connection
 * - `unknown`: the kernel does not tell
 */
export type TcpState = "established" | "connecting" | "none" | "unknown";

/** Distinguishes connecting from waiting for an answer, which `fetch` does not. */
export interface TcpTable {
  /**
   * Returns the state of connections to `address` (an IP address; a name is `unknown`) and `port`. The reading begins
   * after the call, so an answer is never older than its question. All calls within `TCP_READ_INTERVAL_MS` share one
   * reading. Never rejects.
   */
  stateOf(address: string, port: number): Promise<TcpState>;
  /**
   * The same look's connections of this process to `address` and `port` that neither side has ended, by the inodes of their
   * sockets. Undefined: the kernel does not tell, or not which are this process's. Never rejects.
   */
  openTo(address: string, port: number): Promise<ReadonlySet<number> | undefined>;
}

/** The findings on one remote in one reading. */
interface Found {
  readonly state: TcpState;
  readonly open: ReadonlySet<number> | undefined;
}

/** The findings for the requested remotes in one reading. Empty if the reading failed. */
type TcpReading = ReadonlyMap<string, Found>;

/** The callers that share a reading that has not begun. */
interface Batch {
  readonly asked: Set<string>;
  readonly reading: Promise<TcpReading>;
}

/**
 * Other processes may share the network namespace: a sidecar, or a sandbox's own helper. Their sockets do not count if
 * the system tells which sockets are this process's. If it does not, another process's connection makes a request wait
 * longer, but never cuts one.
 */
export function createTcpTable(options: {
  readonly clock: Clock;
  readonly read?: ReadBytes;
  readonly ownSockets?: ReadOwnSockets;
}): TcpTable {
  const { clock, read = readBytes, ownSockets = () => readOwnSockets() } = options;
  // The kernel prints addresses in the machine's byte order. All released binaries are little-endian.
  const isReadable = endianness() === "LE";
  let readAt = Number.NEGATIVE_INFINITY;
  let current: Promise<TcpReading> | undefined;
  let next: Batch | undefined;

  const reading = async (asked: ReadonlySet<string>): Promise<TcpReading> => {
    // If a reading takes longer than the interval, there is still only one at a time.
    await current;
    // From here on, callers join the next batch.
    next = undefined;
    readAt = clock.monotonic();
    current = readStates(asked, { read, ownSockets }).catch(() => new Map<string, Found>());
    return current;
  };
  const createBatch = (): Batch => {
    const waitMs = readAt + TCP_READ_INTERVAL_MS - clock.monotonic();
    const asked = new Set<string>();
    return {
      asked,
      // Callers in the same turn of the event loop share the reading, so it never begins at once.
      reading: new Promise((resolve) => clock.setTimer(Math.max(0, waitMs), () => resolve(reading(asked)))),
    };
  };
  const find = async (address: string, port: number): Promise<Found | undefined> => {
    const canonical = isReadable ? parseAddress(address) : undefined;
    if (canonical === undefined) return undefined;
    const key = toTcpKey(canonical, port);
    next ??= createBatch();
    next.asked.add(key);
    return (await next.reading).get(key);
  };
  return {
    stateOf: async (address, port) => (await find(address, port))?.state ?? "unknown",
    openTo: async (address, port) => (await find(address, port))?.open,
  };
}

async function readStates(
  asked: ReadonlySet<string>,
  from: { readonly read: ReadBytes; readonly ownSockets: ReadOwnSockets },
): Promise<TcpReading> {
  const tables = await Promise.all(TCP_FILES.map((file) => from.read(file, TCP_TABLE_MAX_BYTES)));
  const index = indexTcpTable(tables, { maxBytes: TCP_TABLE_MAX_BYTES, asked });
  const own = index.remotes.size === 0 ? undefined : await from.ownSockets();
  // If the table has none of this process's sockets, its numbers are not those of descriptors. Sandboxed kernels behave
  // like this.
  const counted = own !== undefined && index.hasInodeOf(own) ? own : undefined;
  // Computed once per remote and not per caller: a remote may have thousands of rows and callers.
  return new Map(
    Array.from(asked, (key) => [
      key,
      { state: stateIn(index, { key, counted }), open: openIn(index, { key, counted }) },
    ]),
  );
}

/**
 * @param of.counted The sockets that count. Undefined: all, because the system does not tell which are this process's.
 */
function stateIn(
  index: TcpIndex,
  of: { readonly key: string; readonly counted: ReadonlySet<number> | undefined },
): TcpState {
  const { key, counted } = of;
  const rows = (index.remotes.get(key) ?? []).filter((row) => counted === undefined || counted.has(row.inode));
  if (rows.some((row) => row.kind !== "connecting")) return "established";
  // A table without any connection is wrong: the client has one. Sandboxed kernels behave like this.
  if (!index.isWhole || !index.hasConnections) return "unknown";
  return rows.length > 0 ? "connecting" : "none";
}

/** Undefined where rows are missing, or are not known to be this process's. */
function openIn(
  index: TcpIndex,
  of: { readonly key: string; readonly counted: ReadonlySet<number> | undefined },
): ReadonlySet<number> | undefined {
  const rows = index.remotes.get(of.key) ?? [];
  const { counted } = of;
  if (!index.isWhole || !index.hasConnections) return undefined;
  if (rows.length === 0) return new Set();
  if (counted === undefined) return undefined;
  return new Set(rows.filter((row) => row.kind === "established" && counted.has(row.inode)).map(({ inode }) => inode));
}
