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
}

/** The states of the requested remotes in one reading. Empty if the reading failed. */
type TcpReading = ReadonlyMap<string, TcpState>;

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
    current = readStates(asked, { read, ownSockets }).catch(() => new Map<string, TcpState>());
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
  return {
    async stateOf(address, port) {
      const canonical = isReadable ? parseAddress(address) : undefined;
      if (canonical === undefined) return "unknown";
      const key = toTcpKey(canonical, port);
      next ??= createBatch();
      next.asked.add(key);
      return (await next.reading).get(key) ?? "unknown";
    },
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
  return new Map(Array.from(asked, (key) => [key, stateIn(index, { key, counted })]));
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
  if (rows.some((row) => row.kind === "established")) return "established";
  // A table without any connection is wrong: the client has one. Sandboxed kernels behave like this.
  if (!index.isWhole || !index.hasConnections) return "unknown";
  return rows.length > 0 ? "connecting" : "none";
}
