import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** The kernel's period, as Kubernetes has it. */
const PERIOD_US = 100_000;

/** A group of processes whose processor time is bounded as that of a container is. */
export interface CpuLimit extends Disposable {
  /** A process that writes `0` to this file is bounded. */
  readonly procsFile: string;
  readUsage(): CpuUsage;
}

/** Periods since the group was made in which it ran, and those of them in which it had to wait. */
export interface CpuUsage {
  readonly periods: number;
  readonly throttledPeriods: number;
}

/** Processor time cannot be limited here; the message says why. */
export class CpuLimitError extends Error {}

/**
 * Makes a cgroup with a quota below this process's own, with version 1 or 2 of cgroups. `cores` undefined: no quota.
 *
 * Throws a CpuLimitError where none can be made. Version 2 gives no controller to a child of a group
 * that holds processes itself, unless that is the root:
 * https://docs.kernel.org/admin-guide/cgroup-v2.html#no-internal-process-constraint
 */
export function createCpuLimit(name: string, cores: number | undefined): CpuLimit {
  const parent = findParent();
  const folder = join(parent.folder, `ingress-bench-${process.pid}-${name}`);
  try {
    mkdirSync(folder);
    if (cores !== undefined) parent.write(folder, Math.round(cores * PERIOD_US));
  } catch (error) {
    removeGroup(folder);
    const cause = error instanceof Error ? error.message : String(error);
    throw new CpuLimitError(`Cannot limit processor time: cannot make a cgroup in ${parent.folder}: ${cause}`, {
      cause: error,
    });
  }
  return {
    procsFile: join(folder, "cgroup.procs"),
    readUsage() {
      const text = readFileSync(join(folder, "cpu.stat"), "utf8");
      const number = (key: string): number => Number(new RegExp(`^${key} (\\d+)$`, "m").exec(text)?.[1] ?? 0);
      return { periods: number("nr_periods"), throttledPeriods: number("nr_throttled") };
    },
    [Symbol.dispose]: () => removeGroup(folder),
  };
}

interface Parent {
  readonly folder: string;
  /** Sets the quota, in microseconds of each period. */
  write(folder: string, quotaUs: number): void;
}

function findParent(): Parent {
  for (const line of readFileSync("/proc/self/cgroup", "utf8").split("\n")) {
    const [, controllers, path = "/"] = /^\d+:([^:]*):(.*)$/.exec(line) ?? [];
    if (controllers?.split(",").includes("cpu")) {
      const mounted = [`/sys/fs/cgroup/${controllers}`, "/sys/fs/cgroup/cpu"].find((each) => existsSync(each));
      if (mounted === undefined) continue;
      return {
        folder: join(mounted, path),
        write(folder, quotaUs) {
          writeFileSync(join(folder, "cpu.cfs_period_us"), String(PERIOD_US));
          writeFileSync(join(folder, "cpu.cfs_quota_us"), String(quotaUs));
        },
      };
    }
    if (controllers === "" && existsSync("/sys/fs/cgroup/cgroup.controllers")) {
      const folder = join("/sys/fs/cgroup", path);
      return {
        folder,
        write(child, quotaUs) {
          // Harmless if it is enabled already; if it cannot be, the next line says so.
          if (!existsSync(join(child, "cpu.max"))) writeFileSync(join(folder, "cgroup.subtree_control"), "+cpu");
          writeFileSync(join(child, "cpu.max"), `${quotaUs} ${PERIOD_US}`);
        },
      };
    }
  }
  throw new CpuLimitError("Cannot limit processor time: this machine has no cgroup with the controller `cpu`");
}

function removeGroup(folder: string): void {
  try {
    rmdirSync(folder);
  } catch {
    // It was never made, or one of its processes is about to end. The kernel keeps an empty group at no cost.
  }
}
