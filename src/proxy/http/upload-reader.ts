import { peek } from "bun";

/**
 * The most bytes that are joined to one piece: as many as Bun takes from a socket at a time. It hands them out in
 * pieces of 64 KiB. Each write to `fetch` wakes its thread and waits for it, which costs as much as moving 64 KiB.
 */
const PIECE_MAX_BYTES = 512 * 1024;

/** The part of a stream's reader that is used. The types of Bun and of Node.js differ in the rest. */
interface BodyReader {
  read(): Promise<{ readonly done: boolean; readonly value?: Uint8Array | undefined }>;
  releaseLock(): void;
  cancel(reason?: unknown): Promise<void>;
}

/** Reads a request's body in larger pieces than Bun hands out, without waiting for more than the next byte. */
export class UploadReader {
  readonly #reader: BodyReader;
  /** A read that was begun and whose data belongs to the next piece. */
  #begun: ReturnType<BodyReader["read"]> | undefined;

  /** Locks the body. */
  constructor(body: ReadableStream<Uint8Array>) {
    this.#reader = body.getReader();
  }

  /** Resolves with the next bytes, or undefined after the last. Rejects if the client has left. */
  async read(): Promise<Uint8Array | undefined> {
    const { value: first } = await (this.#begun ?? this.#reader.read());
    this.#begun = undefined;
    if (first === undefined) return undefined;
    const chunks = [first];
    let bytes = first.byteLength;
    while (bytes < PIECE_MAX_BYTES) {
      const reading = this.#reader.read();
      // Bun fetches what has arrived at the end of the microtask in which it handed out the piece before.
      await Promise.resolve();
      const next = peek.status(reading) === "fulfilled" ? peek(reading) : reading;
      if (next instanceof Promise || next.value === undefined) {
        this.#begun = reading;
        // If it rejects, the next `read` reports it. There may be none.
        reading.catch(ignoreLater);
        break;
      }
      chunks.push(next.value);
      bytes += next.value.byteLength;
    }
    return chunks.length === 1 ? first : Buffer.concat(chunks, bytes);
  }

  /** Gives the body back, as if nobody had read it. Only before the first `read`. */
  release(): void {
    this.#reader.releaseLock();
  }

  /** Reads no more. The client may go on sending. */
  cancel(reason: unknown): Promise<void> {
    return this.#reader.cancel(reason);
  }
}

function ignoreLater(): void {}
