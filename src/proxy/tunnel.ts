import type { ServerWebSocket } from "bun";

import type { Clock, Timer } from "../clock.ts";
import type { Exchange } from "./exchange.ts";
import type { EarlyFrame, UpstreamSocket } from "./websocket-dial.ts";

/**
 * Bytes waiting towards the sandbox at which the client is no longer read. Enough to keep a fast path busy, small
 * enough that thousands of stalled tunnels stay affordable.
 */
export const TUNNEL_HIGH_WATER_BYTES = 1024 * 1024;

/** How often a full upstream is looked at, in milliseconds: its client has no event for "drained". */
const UPSTREAM_POLL_MS = 10;

/** How long the sandbox may take to answer a Close, in milliseconds, before its connection is cut. */
const CLOSE_TIMEOUT_MS = 5_000;

/** Close codes (RFC 6455 §7.4.1) that the relay itself uses or must recognise. */
const GOING_AWAY = 1001;
const NO_STATUS = 1005;
const ABNORMAL = 1006;
const INVALID_DATA = 1007;
const PROTOCOL_ERROR = 1002;
const TOO_BIG = 1009;

/** Bytes of a close reason (RFC 6455 §5.5: 125 less the code). */
const REASON_MAX_BYTES = 123;

/** What a `ServerWebSocket` of ours carries. */
export interface TunnelData {
  readonly tunnel: Tunnel;
}

export type ClientSocket = ServerWebSocket<TunnelData>;

/** The open tunnels, for those who count and close them. */
export interface TunnelSet {
  add(tunnel: Tunnel): void;
  delete(tunnel: Tunnel): void;
}

/**
 * One relayed WebSocket: two connections, each frame passed on as it comes. The fast side is paused while the slow one
 * drains; the first Close wins and crosses once (RFC 6455 §7.1.5).
 */
export class Tunnel {
  readonly exchange: Exchange;
  readonly #upstream: UpstreamSocket;
  readonly #early: readonly EarlyFrame[];
  readonly #clock: Clock;
  readonly #tunnels: TunnelSet;
  #client: ClientSocket | undefined;
  #closing = false;
  #timer: Timer | undefined;

  constructor(
    exchange: Exchange,
    upstream: { readonly socket: UpstreamSocket; readonly early: readonly EarlyFrame[] },
    context: { readonly clock: Clock; readonly tunnels: TunnelSet },
  ) {
    this.exchange = exchange;
    this.#upstream = upstream.socket;
    this.#early = upstream.early;
    this.#clock = context.clock;
    this.#tunnels = context.tunnels;
  }

  /** The client is there: what waited goes first, then everything flows. */
  openClient(client: ClientSocket): void {
    this.#client = client;
    this.#tunnels.add(this);
    this.#listen();
    this.exchange.signal.addEventListener("abort", () => this.#cut(), { once: true });
    for (const frame of this.#early) this.#deliverEarly(frame);
    this.#upstream.resume();
  }

  /** The client never came: the sandbox must not believe that it did. */
  abandon(): void {
    this.#closing = true;
    this.#upstream.removeAllListeners();
    this.#upstream.on("error", ignoreLateError);
    this.#upstream.terminate();
  }

  fromClient(data: string | Buffer): void {
    if (this.#closing) return;
    this.exchange.countIn(Buffer.byteLength(data), this.#clock.monotonic());
    this.#upstream.send(data, { binary: typeof data !== "string" });
    this.#restrainClient();
  }

  /** The sandbox sees the client's ping; the client already has Bun's pong, so the sandbox's is dropped. */
  pingFromClient(data: Buffer): void {
    if (this.#closing) return;
    this.exchange.noteAlive(this.#clock.monotonic());
    this.#upstream.ping(data);
    this.#restrainClient();
  }

  /** A pong can only answer a ping of the sandbox: we send none of our own. */
  pongFromClient(data: Buffer): void {
    if (this.#closing) return;
    this.exchange.noteAlive(this.#clock.monotonic());
    this.#upstream.pong(data);
    this.#restrainClient();
  }

  /** The client's buffer has drained. */
  clientDrained(): void {
    if (!this.#closing) this.#upstream.resume();
  }

  /** The client sent Close, or went away (1006). */
  closeFromClient(code: number, reason: string): void {
    this.exchange.closeCode ??= code;
    if (!this.#closing) {
      this.#closing = true;
      // Reading must go on, or the sandbox's answer to the Close is never seen.
      this.#upstream.resume();
      if (code === ABNORMAL) this.#upstream.terminate();
      else this.#closeUpstream(code, reason);
    }
    this.#finish();
  }

  /** Closes both sides as "going away": the ingress stops. */
  goAway(reason: string): void {
    if (this.#closing) return;
    this.#closing = true;
    this.#closeClient(GOING_AWAY, reason);
    this.#upstream.resume();
    this.#closeUpstream(GOING_AWAY, reason);
  }

  /** Ends both connections without a closing handshake: the drain time is over. */
  terminate(): void {
    this.#closing = true;
    this.#client?.terminate();
    this.#upstream.terminate();
  }

  /** The exchange was cut: the sandbox is gone or replaced, or a limit was reached. The client is told. */
  #cut(): void {
    if (this.#closing) return;
    this.#closing = true;
    this.#closeClient(GOING_AWAY, this.exchange.cutBy?.message ?? "");
    this.#upstream.terminate();
  }

  #listen(): void {
    const socket = this.#upstream;
    socket.removeAllListeners();
    socket.on("message", (data: Buffer, binary: boolean) => this.#fromUpstream(data, binary));
    socket.on("ping", (data: Buffer) => this.#pingFromUpstream(data));
    socket.on("close", (code: number, reason: Buffer) => this.#closeFromUpstream(code, reason.toString()));
    socket.on("error", (error: Error) => this.#failUpstream(error));
  }

  #deliverEarly(frame: EarlyFrame): void {
    switch (frame.kind) {
      case "message":
        return this.#fromUpstream(frame.data, frame.binary);
      case "ping":
        return this.#pingFromUpstream(frame.data);
      case "close":
        return this.#closeFromUpstream(frame.code, frame.reason);
    }
  }

  #fromUpstream(data: Buffer, binary: boolean): void {
    const client = this.#client;
    if (this.#closing || client === undefined) return;
    this.exchange.countOut(data.length, this.#clock.monotonic());
    const sent = binary ? client.sendBinary(data) : client.sendText(data.toString());
    this.#restrainUpstream(sent, data.length);
  }

  #pingFromUpstream(data: Buffer): void {
    if (this.#closing) return;
    this.#restrainUpstream(this.#client?.ping(data) ?? 0, 0);
  }

  /** −1: the client is slow. 0 for a frame that was not empty: it is lost, and so must the tunnel be. */
  #restrainUpstream(sent: number, length: number): void {
    if (sent === -1) this.#upstream.pause();
    else if (sent === 0 && length > 0) {
      this.terminate();
    }
  }

  #restrainClient(): void {
    if (this.#timer !== undefined || this.#upstream.bufferedAmount < TUNNEL_HIGH_WATER_BYTES) return;
    this.#client?.pause();
    const look = (): void => {
      const full = this.#upstream.bufferedAmount >= TUNNEL_HIGH_WATER_BYTES / 2;
      this.#timer = full && !this.#closing ? this.#clock.setTimer(UPSTREAM_POLL_MS, look) : undefined;
      if (this.#timer === undefined) this.#client?.resume();
    };
    this.#timer = this.#clock.setTimer(UPSTREAM_POLL_MS, look);
  }

  #closeFromUpstream(code: number, reason: string): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    if (this.#closing) return;
    this.#closing = true;
    this.exchange.closeCode = code;
    if (code === ABNORMAL) this.#client?.terminate();
    else this.#closeClient(code, reason);
  }

  /** The sandbox broke the protocol, or sent more than is allowed; it never reaches the client. */
  #failUpstream(error: Error): void {
    if (this.#closing) return;
    this.#closing = true;
    const code = "code" in error ? CLOSE_CODE_OF_FAULT[String(error.code)] : undefined;
    if (code === undefined) this.#client?.terminate();
    else this.#closeClient(code, "");
    this.#upstream.terminate();
  }

  #closeClient(code: number, reason: string): void {
    this.#client?.resume();
    // Bun sends an empty Close for 1005, which is how it came.
    this.#client?.close(code, reason);
  }

  #closeUpstream(code: number, reason: string): void {
    if (code === NO_STATUS) this.#upstream.close();
    else this.#upstream.close(code, clipReason(reason));
    this.#timer?.cancel();
    this.#timer = this.#clock.setTimer(CLOSE_TIMEOUT_MS, () => this.#upstream.terminate());
  }

  #finish(): void {
    this.#tunnels.delete(this);
    this.exchange.end(this.exchange.cutBy);
  }
}

/** Faults of the sandbox, as Bun's client names them, and what RFC 6455 §7.4.1 calls them. */
const CLOSE_CODE_OF_FAULT: Readonly<Record<string, number>> = {
  WS_ERR_UNSUPPORTED_MESSAGE_LENGTH: TOO_BIG,
  WS_ERR_INVALID_UTF8: INVALID_DATA,
  WS_ERR_INVALID_OPCODE: PROTOCOL_ERROR,
  WS_ERR_UNEXPECTED_RSV_1: PROTOCOL_ERROR,
  WS_ERR_UNEXPECTED_RSV_2_3: PROTOCOL_ERROR,
  WS_ERR_EXPECTED_FIN: PROTOCOL_ERROR,
  WS_ERR_UNEXPECTED_MASK: PROTOCOL_ERROR,
  WS_ERR_INVALID_CLOSE_CODE: PROTOCOL_ERROR,
  WS_ERR_INVALID_CONTROL_PAYLOAD_LENGTH: PROTOCOL_ERROR,
};

function clipReason(reason: string): string {
  return Buffer.byteLength(reason) <= REASON_MAX_BYTES ? reason : "";
}

function ignoreLateError(): void {}
