import { describe, expect, test } from "bun:test";

import { UploadReader } from "../../../../src/proxy/http/upload-reader.ts";

const KIB = 1024;

/** A body whose chunks the test sends. */
function createBody() {
  let controller: ReadableStreamDefaultController<Uint8Array> | undefined;
  const body = new ReadableStream<Uint8Array>({ start: (given) => void (controller = given) });
  if (controller === undefined) throw new Error("unreachable");
  return { body, controller };
}

async function readAll(reader: UploadReader): Promise<Uint8Array[]> {
  const pieces: Uint8Array[] = [];
  for (;;) {
    const piece = await reader.read();
    if (piece === undefined) return pieces;
    pieces.push(piece);
  }
}

describe("UploadReader", () => {
  test("joins what has arrived, in order, up to half a MiB", async () => {
    const { body, controller } = createBody();
    const chunks = Array.from({ length: 20 }, (_, index) => Buffer.alloc(64 * KIB, index));
    for (const chunk of chunks) controller.enqueue(chunk);
    controller.close();
    const pieces = await readAll(new UploadReader(body));
    expect(pieces.map((piece) => piece.byteLength / KIB)).toEqual([512, 512, 256]);
    expect(Buffer.concat(pieces).equals(Buffer.concat(chunks))).toBe(true);
  });

  test("does not wait for a second chunk, and loses none", async () => {
    const { body, controller } = createBody();
    const reader = new UploadReader(body);
    controller.enqueue(Buffer.from("a"));
    expect(await reader.read()).toEqual(Buffer.from("a"));
    controller.enqueue(Buffer.from("b"));
    controller.enqueue(Buffer.from("c"));
    controller.close();
    const rest = await readAll(reader);
    expect(Buffer.concat(rest).toString()).toBe("bc");
  });

  test("reports that the client has left after the bytes that came before, and only to its reader", async () => {
    const { body, controller } = createBody();
    const reader = new UploadReader(body);
    controller.enqueue(Buffer.from("a"));
    expect(await reader.read()).toEqual(Buffer.from("a"));
    controller.error(new Error("left"));
    // An unhandled rejection would fail the test here.
    await Bun.sleep(0);
    expect(await reader.read().catch(String)).toBe("Error: left");
  });

  test("cancel ends the read that was begun", async () => {
    const { body, controller } = createBody();
    const reader = new UploadReader(body);
    controller.enqueue(Buffer.from("a"));
    await reader.read();
    await reader.cancel("enough");
    expect(await reader.read()).toBeUndefined();
  });

  test("release leaves the body to another reader", async () => {
    const { body, controller } = createBody();
    new UploadReader(body).release();
    controller.enqueue(Buffer.from("a"));
    expect(await new UploadReader(body).read()).toEqual(Buffer.from("a"));
  });
});
