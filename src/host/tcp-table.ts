import { endianness } from "node:os";

import { parseAddress } from "../address.ts";
import type { Clock } from "../clock.ts";
import { type ReadBytes, readBytes } from "./kernel-files.ts";
import { indexTcpTable, type TcpIndex, toTcpKey } from "./tcp-rows.ts";

/** The sockets of this network namespace (proc_pid_net(5)): IPv4's, and those of IPv6 with IPv4-mapped addresses. */
const TCP_FILES = ["/proc/self/net/tcp", "/proc/self/net/tcp6"] as const;

/**
 * What is read of one file at most, in bytes: some 110,000 rows of 150 bytes. Reading 20,000 rows takes the kernel 20 ms, off
 * the event loop; indexing them takes 3.5 ms on it, so the largest table costs it some 20 ms.
 */
export const TCP_TABLE_MAX_BYTES = 16 * 1024 * 1024;

/** Least time between the beginnings of two looks, in milliseconds: how late an answer comes at most, beside the reading. */
export const TCP_LOOK_INTERVAL_MS = 1_000;

/**
 * What the kernel says of our connections to an address and port, the best of them:
 * - `established`: one stands, or stood and is still held by a process;
 * - `connecting`: all wait for the other side's first answer;
 * - `none`: there is none;
 * - `unknown`: the kernel does not tell.
 */
export type TcpState = "established" | "connecting" | "none" | "unknown";

/** Tells connecting from waiting, which `fetch` does not. */
export interface TcpTable {
  /**
   * Looks, and gives the state of connections to `address` (an IP address; a name is `unknown`) and `port`. The look
   * begins after the call, so that no answer is older than its question; all who ask within `TCP_LOOK_INTERVAL_MS`
   * share one. Never rejects.
   */
  stateOf(address: string, port: number): Promise<TcpState>;
}

/**
 * Sockets of other processes in the same network namespace count, too: a pod has its own, where only the ingress and a
 * sidecar call sandboxes, and finding the owner would mean to read a link for each of our descriptors. Where the host's
 * namespace is shared, a stranger's connection makes a request wait longer; it never cuts one.
 */
export function createTcpTable(options: { readonly clock: Clock; readonly read?: ReadBytes }): TcpTable {
  const { clock, read = readBytes } = options;
  // The kernel prints addresses as numbers of the machine; no release of ours has big ones.
  const isReadable = endianness() === "LE";
  let lookedAt = Number.NEGATIVE_INFINITY;
  let looking: Promise<TcpIndex> | undefined;
  let next: Promise<TcpIndex> | undefined;

  const look = async (): Promise<TcpIndex> => {
    // Where reading takes longer than the interval, there is still one at a time.
    await looking;
    next = undefined;
    lookedAt = clock.monotonic();
    looking = readIndex(read).catch(() => indexTcpTable([undefined], TCP_TABLE_MAX_BYTES));
    return looking;
  };
  const lookSoon = (): Promise<TcpIndex> => {
    const waitMs = lookedAt + TCP_LOOK_INTERVAL_MS - clock.monotonic();
    // Not at once even then: those who ask in the same turn share the look.
    return new Promise((resolve) => clock.setTimer(Math.max(0, waitMs), () => resolve(look())));
  };
  return {
    async stateOf(address, port) {
      const canonical = isReadable ? parseAddress(address) : undefined;
      if (canonical === undefined) return "unknown";
      const index = await (next ??= lookSoon());
      return stateIn(index, { address: canonical, port });
    },
  };
}

async function readIndex(read: ReadBytes): Promise<TcpIndex> {
  const tables = await Promise.all(TCP_FILES.map((file) => read(file, TCP_TABLE_MAX_BYTES)));
  return indexTcpTable(tables, TCP_TABLE_MAX_BYTES);
}

function stateIn(index: TcpIndex, to: { readonly address: string; readonly port: number }): TcpState {
  const found = index.remotes.get(toTcpKey(to.address, to.port));
  if (found === "established") return found;
  // A table without one connection is not the truth: the client who asks has one (seen in sandboxed kernels).
  if (!index.isWhole || !index.hasConnections) return "unknown";
  return found ?? "none";
}
