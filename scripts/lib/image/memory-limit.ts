import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** A bound on the memory of processes, as far as this machine allows one. */
export interface MemoryLimit extends Disposable {
  /** A process that writes `0` to this file is bounded. Empty if there is no such file. */
  readonly procsFile: string;
  /** What bounds them, for people. */
  readonly description: string;
  /** The most that the kernel has counted against the bound; undefined if nothing counts. */
  readPeakBytes(): number | undefined;
}

/**
 * A memory cgroup below this process's own, so that it stays under whatever bounds us. Where none can be made (no right
 * to, or cgroup v2, which gives no controller to a child of a group that holds processes) memory is only measured, and
 * the description says so. https://docs.kernel.org/admin-guide/cgroup-v2.html#no-internal-process-constraint
 */
export function createMemoryLimit(maxBytes: number): MemoryLimit {
  const parent = findOwnCgroup();
  const folder = parent === undefined ? "" : join(parent.folder, `ingress-image-check-${process.pid}`);
  try {
    if (parent === undefined) throw new Error("no memory cgroup here");
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, parent.limitFile), String(maxBytes));
  } catch (error) {
    removeCgroup(folder);
    const cause = error instanceof Error ? error.message : String(error);
    return {
      procsFile: "",
      description: `memory is measured, not bounded (${cause})`,
      readPeakBytes: () => undefined,
      [Symbol.dispose]: () => {},
    };
  }
  const peakFile = join(folder, parent.peakFile);
  return {
    procsFile: join(folder, "cgroup.procs"),
    description: `memory bounded to ${maxBytes / 1024 / 1024} MiB by a cgroup`,
    readPeakBytes: () => (existsSync(peakFile) ? Number(readFileSync(peakFile, "utf8")) : undefined),
    [Symbol.dispose]: () => removeCgroup(folder),
  };
}

function findOwnCgroup(): { folder: string; limitFile: string; peakFile: string } | undefined {
  for (const line of readFileSync("/proc/self/cgroup", "utf8").split("\n")) {
    const [, controllers, path = "/"] = /^\d+:([^:]*):(.*)$/.exec(line) ?? [];
    if (controllers?.split(",").includes("memory")) {
      const folder = join("/sys/fs/cgroup/memory", path);
      return { folder, limitFile: "memory.limit_in_bytes", peakFile: "memory.max_usage_in_bytes" };
    }
    if (controllers === "" && existsSync("/sys/fs/cgroup/cgroup.controllers")) {
      return { folder: join("/sys/fs/cgroup", path), limitFile: "memory.max", peakFile: "memory.peak" };
    }
  }
  return undefined;
}

function removeCgroup(folder: string): void {
  try {
    rmdirSync(folder);
  } catch {
    // It was never made, or one of its processes is about to end. The kernel keeps an empty group at no cost.
  }
}

/** The most resident memory of the process so far, including shared files such as its own program. */
export function readPeakResidentBytes(pid: number): number {
  const kilobytes = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
  if (kilobytes === undefined) throw new Error(`the kernel does not tell the memory of process ${pid}`);
  return Number(kilobytes) * 1024;
}
