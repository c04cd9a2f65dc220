import { fstatSync } from "node:fs";
import { readdir, stat } from "node:fs/promises";

const DESCRIPTORS_FOLDER = "/proc/self/fd";

/**
 * Maximum number of descriptors that are searched. 20,000 take 35 to 50 ms: reading the folder 15 ms in a thread,
 * querying the descriptors 15 ms on the event loop, in slices. Other work waited at most 5 ms, mainly for the folder's
 * names.
 */
export const OWN_DESCRIPTORS_MAX = 50_000;

/** Descriptors between two turns of the event loop: 0.2 ms. */
const SLICE_DESCRIPTORS = 256;

/**
 * Finds the sockets of this process, by the inode in `socket:[<inode>]` in `/proc/self/fd` (proc_pid_fd(5)). Undefined
 * if the system does not tell, or if there are more than `OWN_DESCRIPTORS_MAX` descriptors. Tests put numbers here.
 */
export type ReadOwnSockets = () => Promise<ReadonlySet<number> | undefined>;

/**
 * The real function, in slices of the event loop. Never rejects. The set contains every socket that is open all the
 * time; a socket that opens or closes meanwhile may be missing.
 */
export async function readOwnSockets(maxDescriptors = OWN_DESCRIPTORS_MAX): Promise<ReadonlySet<number> | undefined> {
  try {
    // Since Linux 6.2 the folder's size is the number of descriptors (before: 0), so a folder that is too long need not
    // be read.
    if ((await stat(DESCRIPTORS_FOLDER)).size > maxDescriptors) return undefined;
    const names = await readdir(DESCRIPTORS_FOLDER);
    return names.length > maxDescriptors ? undefined : await inodesOf(names);
  } catch {
    return undefined;
  }
}

async function inodesOf(names: readonly string[]): Promise<Set<number>> {
  const inodes = new Set<number>();
  for (let start = 0; start < names.length; start += SLICE_DESCRIPTORS) {
    for (const name of names.slice(start, start + SLICE_DESCRIPTORS)) {
      const inode = inodeOf(Number(name));
      if (inode !== undefined) inodes.add(inode);
    }
    await new Promise<void>((resolve) => setImmediate(resolve));
  }
  return inodes;
}

/** The same number as in the link. Querying the descriptor takes a third of the time of reading the link. */
function inodeOf(descriptor: number): number | undefined {
  try {
    const stats = fstatSync(descriptor);
    return stats.isSocket() ? stats.ino : undefined;
  } catch {
    // It was closed after the folder was read.
    return undefined;
  }
}
