import { closeSync, openSync, readdirSync, statSync } from "node:fs";

import { type ReadTextFile, readTextFile } from "./kernel-files.ts";

const DESCRIPTORS_FOLDER = "/proc/self/fd";
const LIMITS_FILE = "/proc/self/limits";
/** A file that is always there and costs nothing to hold. */
const NOTHING_FILE = "/dev/null";

/** The process's file descriptors, as far as the system tells. A seam: tests put numbers here. */
export interface DescriptorFiles {
  /** Descriptors open now. Undefined: the system does not tell. Needs none itself where it can do without. */
  count(): number | undefined;
  /** How many may be open. Undefined: the system does not tell, or has no limit. */
  readLimit(): number | undefined;
  /** Opens up to `count` descriptors that nobody uses and gives a function that closes them; fewer where no more are free. */
  hold(count: number): () => void;
}

/** The real ones, on Linux. Never throws. */
export const descriptorFiles: DescriptorFiles = {
  count: countDescriptors,
  readLimit: () => parseDescriptorLimit(readTextFile),
  hold: holdDescriptors,
};

/**
 * Since Linux 6.2 the folder's size is their number: 2 µs. Before it is 0, and the folder is read: 16 ms for 19,000 of them.
 */
function countDescriptors(): number | undefined {
  try {
    // One of those in the folder is the folder itself while it is read.
    return statSync(DESCRIPTORS_FOLDER).size || readdirSync(DESCRIPTORS_FOLDER).length - 1;
  } catch {
    return undefined;
  }
}

/** The soft limit in `/proc/self/limits`: `Max open files <soft> <hard> files`. Bun raises it to the hard one at its start. */
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
    // What could be had is enough.
  }
  return () => {
    for (const descriptor of held.splice(0)) closeSync(descriptor);
  };
}
