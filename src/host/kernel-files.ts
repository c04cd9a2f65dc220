import { readFileSync } from "node:fs";
import { codeOf } from "../values.ts";

/**
 * Reads a small kernel file as text. Returns undefined if this system does not have the file or forbids reading it.
 * Never throws. Tests put their own files here.
 */
export type ReadTextFile = (path: string) => string | undefined;

/** The real function. It blocks while the kernel writes the file, for microseconds, so use it only for small files. */
export const readTextFile: ReadTextFile = (path) => {
  try {
    return readFileSync(path, "latin1");
  } catch {
    return undefined;
  }
};

/**
 * Reads the beginning of a file that may be large, off the event loop. Resolves with an empty array if the file is
 * missing, and with undefined if it cannot be read now, for example because no descriptor is free.
 *
 * @param maxBytes A longer file is cut at this length; the caller sees this by the length of the result.
 */
export type ReadBytes = (path: string, maxBytes: number) => Promise<Uint8Array | undefined>;

/** The real function. Never rejects. */
export const readBytes: ReadBytes = async (path, maxBytes) => {
  try {
    return await Bun.file(path).slice(0, maxBytes).bytes();
  } catch (error) {
    return codeOf(error) === "ENOENT" ? new Uint8Array() : undefined;
  }
};
