import { open } from "node:fs/promises";

import { codeOf, messageOf } from "../values.ts";
import { parseRedisDsn, type RedisTarget } from "./redis-dsn.ts";

/** A DSN is one line. A larger file is not a DSN file. */
const DSN_FILE_MAX_BYTES = 16 * 1024;

/**
 * Reads the DSN, which is the whole content of a file except white space around it. Rejects with an Error that names
 * the file and the system's code, and never shows any of the content.
 */
export async function readRedisDsnFile(path: string): Promise<RedisTarget> {
  let text: string;
  try {
    text = await readStart(path);
  } catch (error) {
    const code = codeOf(error) || "unknown fault";
    throw new Error(`Cannot read Redis DSN from ${path}: ${code}`, { cause: error });
  }
  if (Buffer.byteLength(text) > DSN_FILE_MAX_BYTES) {
    throw new Error(`Cannot read Redis DSN from ${path}: larger than ${DSN_FILE_MAX_BYTES} bytes`);
  }
  try {
    return parseRedisDsn(text);
  } catch (error) {
    throw new Error(`${messageOf(error)}, in ${path}`, { cause: error });
  }
}

/** One byte more than the limit shows that the file is too large, whatever its size. */
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
