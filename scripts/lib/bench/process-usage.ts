import { readdirSync, readFileSync } from "node:fs";

/** The kernel's numbers for a process and its descendants. */
export interface ProcessUsage {
  /** User and system time of all threads, of living descendants and of those that have been waited for. */
  readonly cpuSeconds: number;
  /** Resident memory of the living processes. Shared pages count once for each. */
  readonly residentBytes: number;
}

/** Ticks a second in /proc/<pid>/stat: USER_HZ, 100 on every Linux architecture that Bun runs on. */
const TICKS_PER_SECOND = 100;
const PAGE_BYTES = 4096;

/** Reads /proc (proc(5)). A process that has ended counts as zero. */
export function readUsage(pid: number): ProcessUsage {
  let ticks = 0;
  let pages = 0;
  for (const each of withDescendants(pid)) {
    const fields = readStat(each);
    // From the third field on: utime, stime, cutime and cstime are 14 to 17, rss is 24.
    for (const index of [11, 12, 13, 14]) ticks += Number(fields[index] ?? 0);
    pages += Number(fields[21] ?? 0);
  }
  return { cpuSeconds: ticks / TICKS_PER_SECOND, residentBytes: pages * PAGE_BYTES };
}

function withDescendants(pid: number): readonly number[] {
  const found = [pid];
  for (const parent of found) found.push(...childrenOf(parent));
  return found;
}

function childrenOf(pid: number): readonly number[] {
  try {
    return readdirSync(`/proc/${pid}/task`).flatMap((thread) =>
      readFileSync(`/proc/${pid}/task/${thread}/children`, "utf8").split(" ").filter(Boolean).map(Number),
    );
  } catch {
    return [];
  }
}

/** The fields after the command's name, which may contain spaces. */
function readStat(pid: number): readonly string[] {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, "utf8");
    return text.slice(text.lastIndexOf(")") + 2).split(" ");
  } catch {
    return [];
  }
}
