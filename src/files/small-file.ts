/** Reads a text file of at most `maxBytes`. Rejects if it is larger, missing, or not a file; the message has nothing of its content. */
export async function readSmallFile(path: string, maxBytes: number): Promise<string> {
  const file = Bun.file(path);
  const info = await file.stat();
  if (!info.isFile()) throw new Error(`${path} is not a file`);
  // One byte more than the limit is enough to see that it is broken, however large the file has become.
  const bytes = await file.slice(0, maxBytes + 1).bytes();
  if (bytes.length > maxBytes) throw new Error(`${path} is larger than ${maxBytes} bytes`);
  return new TextDecoder().decode(bytes);
}
