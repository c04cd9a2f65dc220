import { readFileSync } from "node:fs";

/**
 * Reads a small file of the kernel's whole, as text. Undefined: it cannot be read, because this system lacks it or
 * forbids it. Never throws. A seam: tests put files of their own here.
 */
export type ReadTextFile = (path: string) => string | undefined;

/** The real one. Blocks for as long as the kernel takes to write the file: microseconds, so for small files only. */
export const readTextFile: ReadTextFile = (path) => {
  try {
    return readFileSync(path, "latin1");
  } catch {
    return undefined;
  }
};

/**
 * Reads the beginning of a file that may be large, off the event loop. Empty: there is no such file. Undefined: it cannot
 * be read now, for lack of a descriptor say.
 * @param maxBytes What is longer is cut there; the caller sees it by the length of what it gets.
 */
export type ReadBytes = (path: string, maxBytes: number) => Promise<Uint8Array | undefined>;

/** The real one. Never rejects. */
export const readBytes: ReadBytes = async (path, maxBytes) => {
  try {
    return await Bun.file(path).slice(0, maxBytes).bytes();
  } catch (error) {
    return isMissing(error) ? new Uint8Array() : undefined;
  }
};

function isMissing(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "ENOENT";
}
