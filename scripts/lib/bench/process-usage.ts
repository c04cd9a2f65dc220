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

/** The process itself first, then its living descendants. */
export function withDescendants(pid: number): readonly number[] {
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

/** CPU seconds of the threads of a process and of its living descendants so far, by the kind of thread. */
export interface ThreadUsage {
  /** The first thread of each process: in Bun, the one that runs JavaScript. */
  readonly main: number;
  /** Bun's thread for the connections of `fetch`. */
  readonly http: number;
  /** The others: compilers, garbage collection, file system. */
  readonly other: number;
}

const HTTP_THREAD = "HTTP Client";

/** Reads /proc/<pid>/task (proc(5)). Threads that have ended do not count. */
export function readThreadUsage(pid: number): ThreadUsage {
  const usage = { main: 0, http: 0, other: 0 };
  for (const each of withDescendants(pid)) {
    for (const thread of readdirSync(`/proc/${each}/task`)) {
      const { name, fields } = readStatOf(`/proc/${each}/task/${thread}`);
      const seconds = (Number(fields[11] ?? 0) + Number(fields[12] ?? 0)) / TICKS_PER_SECOND;
      usage[thread === `${each}` ? "main" : name === HTTP_THREAD ? "http" : "other"] += seconds;
    }
  }
  return usage;
}

function readStat(pid: number): readonly string[] {
  return readStatOf(`/proc/${pid}`).fields;
}

/** The command's name, which may contain spaces, and the fields after it. */
function readStatOf(folder: string): { readonly name: string; readonly fields: readonly string[] } {
  try {
    const text = readFileSync(`${folder}/stat`, "utf8");
    const end = text.lastIndexOf(")");
    return { name: text.slice(text.indexOf("(") + 1, end), fields: text.slice(end + 2).split(" ") };
  } catch {
    return { name: "", fields: [] };
  }
}
