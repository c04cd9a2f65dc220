import type { Clock, Timer } from "../../clock.ts";
import { clipReason, CLOSE_CODES } from "./close-codes.ts";
import type { FrameKind } from "./frame-queue.ts";
import { TUNNEL_HIGH_WATER_BYTES, UNCOUNTED_MAX_BYTES } from "./tunnel-limits.ts";
import type { EarlyFrame, UpstreamSocket } from "./dial.ts";

/** How often a full upstream is checked, in milliseconds. Its client has no event for "drained". */
const POLL_MS = 10;

/** How long the sandbox may take to answer a Close before its connection is cut, in milliseconds. */
const CLOSE_TIMEOUT_MS = 5_000;

/** The options of each message. They are shared, because a message would else make an object. */
const AS_BINARY = { binary: true } as const;
const AS_TEXT = { binary: false } as const;

/** The callbacks of the sandbox's side of a tunnel. */
export interface SandboxSideSeams {
  /**
   * The number of bytes that wait for the sandbox has changed. Called while more than a little waits. `hasDrained`: the
   * number is smaller than before.
   */
  onWaiting(change: { readonly hasDrained: boolean }): void;
  /** Too much waits. The client must not be read. */
  onFull(): void;
  /** There is room again. */
  onRoom(): void;
  /** Runs a timer's callback. The tunnel handles what it throws. */
  safely(run: () => void): void;
}

/** The events of the sandbox's connection. */
export interface SandboxEvents {
  /** Called for each frame, so it must be cheap. Must not throw. */
  onFrame(kind: FrameKind, data: Buffer): void;
  /** Code 1006: the connection ended without a Close. */
  onClose(code: number, reason: string): void;
  /** The sandbox broke the protocol or sent too much. */
  onError(error: Error): void;
}

/** Sends to the sandbox, and tells when it does not keep up. */
export class SandboxSide {
  readonly socket: UpstreamSocket;
  readonly #clock: Clock;
  readonly #seams: SandboxSideSeams;
  #events: SandboxEvents | undefined;
  #isFull = false;
  #lastWaiting = 0;
  #pollTimer: Timer | undefined;
  #closeTimer: Timer | undefined;

  constructor(socket: UpstreamSocket, clock: Clock, seams: SandboxSideSeams) {
    this.socket = socket;
    this.#clock = clock;
    this.#seams = seams;
  }

  /** Bytes that wait for the sandbox's connection. */
  get waitingBytes(): number {
    return this.socket.bufferedAmount;
  }

  /**
   * Whether the sandbox has sent Close but keeps TCP open. Bun has answered the Close, but reports it only when TCP
   * ends.
   */
  get isHalfClosed(): boolean {
    return this.socket.readyState === this.socket.CLOSING;
  }

  /** Whether its connection has ended. */
  get isClosed(): boolean {
    return this.socket.readyState === this.socket.CLOSED;
  }

  /** Sends all events to `events` from now on. */
  listen(events: SandboxEvents): void {
    this.#events = events;
    const { socket } = this;
    const safely = (run: () => void): void => this.#seams.safely(run);
    socket.removeAllListeners();
    socket.on("message", (data: Buffer, binary: boolean) => events.onFrame(binary ? "binary" : "text", data));
    socket.on("ping", (data: Buffer) => events.onFrame("ping", data));
    socket.on("pong", (data: Buffer) => events.onFrame("pong", data));
    socket.on("close", (code: number, reason: Buffer) => safely(() => events.onClose(code, reason.toString())));
    socket.on("error", (error: Error) => safely(() => events.onError(error)));
  }

  /** Replays the frames that arrived before anybody listened. */
  takeEarly(frames: readonly EarlyFrame[]): void {
    for (const frame of frames) {
      if (frame.kind === "close") this.#events?.onClose(frame.code, frame.reason);
      else if (frame.kind === "ping") this.#events?.onFrame("ping", frame.data);
      else this.#events?.onFrame(frame.binary ? "binary" : "text", frame.data);
    }
  }

  deliver(kind: FrameKind, data: string | Buffer): void {
    if (kind === "ping") this.socket.ping(data);
    else if (kind === "pong") this.socket.pong(data);
    else this.socket.send(data, kind === "binary" ? AS_BINARY : AS_TEXT);
    if (this.#pollTimer === undefined || !this.#isFull) this.#lookAtWaiting();
  }

  /**
   * Sends Close, and cuts the connection if it is not answered in time. For 1006 it ends the connection without a
   * Close.
   */
  close(code: number, reason: string): void {
    if (code === CLOSE_CODES.abnormal) return this.terminate();
    if (code === CLOSE_CODES.noStatus) this.socket.close();
    else this.socket.close(code, clipReason(reason));
    this.#closeTimer?.cancel();
    this.#closeTimer = this.#clock.setTimer(CLOSE_TIMEOUT_MS, () => this.#seams.safely(() => this.socket.terminate()));
  }

  /** Ends the connection of a tunnel whose client never came. */
  abandon(): void {
    this.socket.removeAllListeners();
    // Without a listener, a late error would be a fault of the process.
    this.socket.on("error", () => {});
    this.terminate();
  }

  terminate(): void {
    this.stop();
    this.socket.terminate();
  }

  /** Cancels all timers. */
  stop(): void {
    this.#pollTimer?.cancel();
    this.#pollTimer = undefined;
    this.#closeTimer?.cancel();
    this.#closeTimer = undefined;
  }

  #lookAtWaiting(): void {
    const waiting = this.socket.bufferedAmount;
    if (waiting < UNCOUNTED_MAX_BYTES && this.#lastWaiting === 0) return;
    const hasDrained = waiting < this.#lastWaiting;
    this.#lastWaiting = waiting < UNCOUNTED_MAX_BYTES ? 0 : waiting;
    if (!this.#isFull && waiting >= TUNNEL_HIGH_WATER_BYTES) {
      this.#isFull = true;
      this.#seams.onFull();
    } else if (this.#isFull && waiting < TUNNEL_HIGH_WATER_BYTES / 2) {
      this.#isFull = false;
      this.#seams.onRoom();
    }
    this.#seams.onWaiting({ hasDrained });
    if (this.#lastWaiting > 0 && this.socket.readyState === this.socket.OPEN) this.#poll();
  }

  #poll(): void {
    this.#pollTimer ??= this.#clock.setTimer(POLL_MS, () => {
      this.#pollTimer = undefined;
      this.#seams.safely(() => this.#lookAtWaiting());
    });
  }
}
