/** A frame that crosses a tunnel: a whole message or a control frame (RFC 6455 §5.5, §5.6). */
export type FrameKind = "text" | "binary" | "ping" | "pong";

/** A frame that has waited. The data of a short frame is a view of the queue's memory, whatever type it arrived as. */
export interface WaitingFrame {
  readonly kind: FrameKind;
  readonly data: string | Buffer;
}

/**
 * Size of the blocks into which short frames are packed, in bytes. A frame of six bytes on the wire would take three
 * hundred bytes as an object of its own, and a full receive buffer holds 87,000 of them.
 */
const BLOCK_BYTES = 16 * 1024;

/**
 * Data up to this length is packed, in bytes. Longer data is kept as it came, since a copy would cost more than an
 * object.
 */
const PACKED_MAX_BYTES = 1024;

/** The head of each packed frame: its kind, and its length in two bytes. */
const HEAD_BYTES = 3;

const KINDS: readonly FrameKind[] = ["text", "binary", "ping", "pong"];

/** Added to the kind of a frame whose data is not packed. */
const APART = 4;

interface Block {
  readonly buffer: Buffer;
  used: number;
}

/** Frames in order of arrival, in little more memory than they took on the wire. */
export class FrameQueue {
  readonly #blocks: Block[] = [];
  /** The data of frames that are not packed. */
  readonly #apart: (string | Buffer)[] = [];
  #readOffset = 0;
  #apartBytes = 0;
  #frames = 0;

  /** How many frames wait. */
  get frames(): number {
    return this.#frames;
  }

  /** Memory that the waiting frames hold, in bytes. */
  get heldBytes(): number {
    return this.#blocks.length * BLOCK_BYTES + this.#apartBytes;
  }

  /** @param bytes The length of `data` in UTF-8. */
  push(kind: FrameKind, data: string | Buffer, bytes: number): void {
    const isPacked = bytes <= PACKED_MAX_BYTES;
    const block = this.#blockFor(HEAD_BYTES + (isPacked ? bytes : 0));
    const { buffer, used } = block;
    buffer[used] = KINDS.indexOf(kind) + (isPacked ? 0 : APART);
    buffer[used + 1] = isPacked ? bytes & 0xff : 0;
    buffer[used + 2] = isPacked ? bytes >> 8 : 0;
    block.used += HEAD_BYTES;
    if (!isPacked) {
      this.#apart.push(data);
      this.#apartBytes += bytes;
    } else if (typeof data === "string") {
      block.used += buffer.write(data, block.used);
    } else {
      block.used += data.copy(buffer, block.used);
    }
    this.#frames++;
  }

  /** Takes out the oldest frame; undefined: the queue is empty. */
  shift(): WaitingFrame | undefined {
    this.#dropReadBlock();
    const [block] = this.#blocks;
    if (block === undefined) return undefined;
    const { buffer } = block;
    const tag = buffer[this.#readOffset] ?? 0;
    const bytes = (buffer[this.#readOffset + 1] ?? 0) + ((buffer[this.#readOffset + 2] ?? 0) << 8);
    const start = this.#readOffset + HEAD_BYTES;
    this.#readOffset = start + bytes;
    this.#frames--;
    const kind = KINDS[tag % APART] ?? "binary";
    if (tag < APART) {
      if (this.#frames === 0) this.clear();
      return { kind, data: buffer.subarray(start, start + bytes) };
    }
    const data = this.#apart.shift() ?? "";
    this.#apartBytes -= Buffer.byteLength(data);
    if (this.#frames === 0) this.clear();
    return { kind, data };
  }

  /** Drops everything that waits. */
  clear(): void {
    this.#blocks.length = 0;
    this.#apart.length = 0;
    this.#readOffset = 0;
    this.#apartBytes = 0;
    this.#frames = 0;
  }

  #blockFor(bytes: number): Block {
    const last = this.#blocks.at(-1);
    if (last !== undefined && last.used + bytes <= BLOCK_BYTES) return last;
    const block = { buffer: Buffer.allocUnsafeSlow(BLOCK_BYTES), used: 0 };
    this.#blocks.push(block);
    return block;
  }

  #dropReadBlock(): void {
    const [block] = this.#blocks;
    if (block === undefined || this.#readOffset < block.used) return;
    this.#blocks.shift();
    this.#readOffset = 0;
  }
}
