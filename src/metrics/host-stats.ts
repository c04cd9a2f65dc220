import { readFile } from "node:fs/promises";
import { cpus, freemem, totalmem } from "node:os";

import type { Clock } from "../clock.ts";

/** TCP statistics of this network namespace, both families (RFC 4022 tcpCurrEstab); Linux only. */
const TCP_STATISTICS_FILE = "/proc/net/snmp";

/** Statistics of the machine, as the Go ingress measures them (docs/contract.md §8). */
export interface HostStats {
  /** Busy share of all processors, 0 to 1, over the last second or more; 0 in the first second. */
  cpuUsage(): number;
  /** Memory in use, in bytes. */
  memoryBytes(): number;
  /** Established TCP connections in this network namespace (a pod's own); undefined if the system does not tell. */
  connections(): Promise<number | undefined>;
}

/**
 * Least time between two readings, in milliseconds: scrape and push may coincide, and the kernel counts in steps of 10
 * ms.
 */
const CPU_INTERVAL_MIN_MS = 1_000;

export function createHostStats(clock: Clock): HostStats {
  let last = readCpuTimes();
  let readAt = clock.monotonic();
  let usage = 0;
  return {
    cpuUsage() {
      if (clock.monotonic() - readAt < CPU_INTERVAL_MIN_MS) return usage;
      readAt = clock.monotonic();
      const now = readCpuTimes();
      const total = now.total - last.total;
      const busy = now.busy - last.busy;
      last = now;
      usage = total <= 0 ? 0 : Math.min(1, Math.max(0, busy / total));
      return usage;
    },
    memoryBytes: () => totalmem() - freemem(),
    async connections() {
      try {
        return parseEstablished(await readFile(TCP_STATISTICS_FILE, "utf8"));
      } catch {
        return undefined;
      }
    },
  };
}

/** Reads `CurrEstab` from the two `Tcp:` lines of `/proc/net/snmp`, names and values. */
export function parseEstablished(text: string): number | undefined {
  const [names, values] = text
    .split("\n")
    .filter((line) => line.startsWith("Tcp:"))
    .map((line) => line.split(" "));
  const value = values?.[names?.indexOf("CurrEstab") ?? -1];
  return value !== undefined && /^\d+$/.test(value) ? Number(value) : undefined;
}

function readCpuTimes(): { readonly busy: number; readonly total: number } {
  let busy = 0;
  let idle = 0;
  for (const { times } of cpus()) {
    busy += times.user + times.nice + times.sys + times.irq;
    idle += times.idle;
  }
  return { busy, total: busy + idle };
}
