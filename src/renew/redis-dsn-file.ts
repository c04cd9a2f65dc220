import { open } from "node:fs/promises";

import { parseRedisDsn, type RedisTarget } from "./redis-dsn.ts";

/** A DSN is one line; a larger file is another one. */
const DSN_FILE_MAX_BYTES = 16 * 1024;

/**
 * Reads the DSN that is the whole content of a file, white space around it aside. Rejects with an Error that names the file and
 * the system's code, and never shows any of the content.
 */
export async function readRedisDsnFile(path: string): Promise<RedisTarget> {
  let text: string;
  try {
    text = await readStart(path);
  } catch (error) {
    const code = error instanceof Error && "code" in error ? String(error.code) : "unknown fault";
    throw new Error(`Cannot read Redis DSN from ${path}: ${code}`, { cause: error });
  }
  if (Buffer.byteLength(text) > DSN_FILE_MAX_BYTES) {
    throw new Error(`Cannot read Redis DSN from ${path}: larger than ${DSN_FILE_MAX_BYTES} bytes`);
  }
  try {
    return parseRedisDsn(text);
  } catch (error) {
    const reason = error instanceof Error ? error.message : "";
    throw new Error(`${reason}, in ${path}`, { cause: error });
  }
}

/** One byte more than the limit is enough to see that it is exceeded, however much the file gives. */
async function readStart(path: string): Promise<string> {
  await using file = await open(path, "r");
  const buffer = Buffer.alloc(DSN_FILE_MAX_BYTES + 1);
  let length = 0;
  while (length < buffer.length) {
    const { bytesRead } = await file.read(buffer, length, buffer.length - length, null);
    if (bytesRead === 0) break;
    length += bytesRead;
  }
  return buffer.toString("utf8", 0, length);
}
