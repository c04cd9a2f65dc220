import { closeSync, openSync, readdirSync, statSync } from "node:fs";

import { type ReadTextFile, readTextFile } from "./kernel-files.ts";

const DESCRIPTORS_FOLDER = "/proc/self/fd";
const LIMITS_FILE = "/proc/self/limits";
/** A file that always exists and costs nothing to hold open. */
const NOTHING_FILE = "/dev/null";

/** The process's file descriptors, as the system reports them. Tests put numbers here. */
export interface DescriptorFiles {
  /** Open descriptors now; undefined if the system does not tell. Needs no descriptor itself if possible. */
  count(): number | undefined;
  /** How many may be open; undefined if the system does not tell or has no limit. */
  readLimit(): number | undefined;
  /**
   * Opens up to `count` unused descriptors and returns a function that closes them. Opens fewer if no more are free.
   */
  hold(count: number): () => void;
}

/** The real descriptors, on Linux. Never throws. */
export const descriptorFiles: DescriptorFiles = {
  count: countDescriptors,
  readLimit: () => parseDescriptorLimit(readTextFile),
  hold: holdDescriptors,
};

/**
 * Since Linux 6.2 the folder's size is the number of descriptors: 2 µs. Before, the size is 0 and the folder must be
 * read: 16 ms for 19,000 descriptors.
 */
function countDescriptors(): number | undefined {
  try {
    // While it is read, the folder itself has one of the descriptors.
    return statSync(DESCRIPTORS_FOLDER).size || readdirSync(DESCRIPTORS_FOLDER).length - 1;
  } catch {
    return undefined;
  }
}

/**
 * Reads the soft limit in `/proc/self/limits`: `Max open files <soft> <hard> files`. Bun raises it to the hard one at
 * its start.
 */
export function parseDescriptorLimit(read: ReadTextFile): number | undefined {
  const digits = /^Max open files +(\d+) /m.exec(read(LIMITS_FILE) ?? "")?.[1];
  const limit = Number(digits ?? 0);
  return limit > 0 ? limit : undefined;
}

function holdDescriptors(count: number): () => void {
  const held: number[] = [];
  try {
    while (held.length < count) held.push(openSync(NOTHING_FILE, "r"));
  } catch {
    // Fewer are also useful.
  }
  return () => {
    for (const descriptor of held.splice(0)) closeSync(descriptor);
  };
}
