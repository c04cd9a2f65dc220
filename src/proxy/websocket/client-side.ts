import type { ServerWebSocket } from "bun";

import { clipReason, CLOSE_CODES } from "./close-codes.ts";
import type { FrameKind } from "./frame-queue.ts";

/** The part of the client's socket that the tunnel uses. */
type Socket = Pick<
  ServerWebSocket<unknown>,
  | "sendBinary"
  | "sendText"
  | "ping"
  | "pong"
  | "cork"
  | "getBufferedAmount"
  | "pause"
  | "resume"
  | "close"
  | "terminate"
>;

/** The result of a delivery: the frame was sent or buffered, it was buffered but the client is slow, or it is lost. */
export type Delivery = "sent" | "slow" | "lost";

/** Sends to the client. */
export class ClientSide {
  readonly #socket: Socket;
  #isGone = false;

  constructor(socket: Socket) {
    this.#socket = socket;
  }

  /** Bytes that wait for the client's connection. */
  get waitingBytes(): number {
    return this.#isGone ? 0 : this.#socket.getBufferedAmount();
  }

  /** Whether the connection has ended. */
  get isGone(): boolean {
    return this.#isGone;
  }

  /** The connection has ended. */
  leave(): void {
    this.#isGone = true;
  }

  deliver(kind: FrameKind, data: string | Buffer): Delivery {
    const sent = this.#send(kind, data);
    if (sent === -1) return "slow";
    // Bun returns 0 for an empty frame too.
    return sent === 0 && data.length > 0 ? "lost" : "sent";
  }

  /** Runs deliveries and sends them with one write. Returns whether the client is slow. */
  batch(run: () => void): boolean {
    this.#socket.cork(run);
    return this.waitingBytes > 0;
  }

  ping(payload: Buffer): void {
    this.#socket.ping(payload);
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  /** Sends Close. For 1006 it ends the connection without a Close. */
  close(code: number, reason: string): void {
    if (this.#isGone) return;
    if (code === CLOSE_CODES.abnormal) return this.terminate();
    this.#socket.resume();
    // For 1005 Bun sends an empty Close, like the one that came.
    this.#socket.close(code, clipReason(reason));
  }

  terminate(): void {
    if (!this.#isGone) this.#socket.terminate();
  }

  #send(kind: FrameKind, data: string | Buffer): number {
    switch (kind) {
      case "ping":
        return this.#socket.ping(data);
      case "pong":
        return this.#socket.pong(data);
      case "text":
        return this.#socket.sendText(data.toString());
      case "binary":
        return this.#socket.sendBinary(typeof data === "string" ? Buffer.from(data) : data);
    }
  }
}
