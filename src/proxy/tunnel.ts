import type { ServerWebSocket } from "bun";

import type { Clock, Timer } from "../clock.ts";
import { IngressError } from "../errors.ts";
import { clipReason, CLOSE_CODE_OF_FAULT, CLOSE_CODES } from "./close-codes.ts";
import type { Exchange } from "./exchange.ts";
import type { EarlyFrame, UpstreamSocket } from "./websocket-dial.ts";

/**
 * Bytes waiting towards the sandbox at which the client is no longer read. Enough to keep a fast path busy, small
 * enough that thousands of stalled tunnels stay affordable.
 */
export const TUNNEL_HIGH_WATER_BYTES = 1024 * 1024;

/** Bytes waiting in one tunnel that are not worth counting: with 10,000 tunnels they are another 160 MiB. */
const UNCOUNTED_MAX_BYTES = 16 * 1024;

/** How often a full upstream is looked at, in milliseconds: its client has no event for "drained". */
const UPSTREAM_POLL_MS = 10;

/**
 * How often a client that is not read is pinged, in milliseconds: nothing else tells that it has left. Its pong reaches the
 * sandbox unasked, which RFC 6455 §5.5.3 allows.
 */
const PAUSED_CLIENT_PING_MS = 3_000;

/** How long the sandbox may take to answer a Close, in milliseconds, before its connection is cut. */
const CLOSE_TIMEOUT_MS = 5_000;

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
  /** The account of what waits: its exchange's. */
  readonly #backlog: { tryHold(bytes: number): boolean };
  #client: ClientSocket | undefined;
  #closing = false;
  #isClientPaused = false;
  /** Monotonic ms of the pause, or of the last ping since. */
  #pingedAt = 0;
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
    this.#backlog = exchange;
  }

  /** The client is there: what waited goes first, then everything flows. */
  openClient(client: ClientSocket): void {
    this.#client = client;
    this.exchange.openTunnel();
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

  /** Answers a ping of the sandbox, or one of ours while the client is paused; the sandbox may have either. */
  pongFromClient(data: Buffer): void {
    if (this.#closing) return;
    this.exchange.noteAlive(this.#clock.monotonic());
    this.#upstream.pong(data);
    this.#restrainClient();
  }

  /** The client's buffer has drained. */
  clientDrained(): void {
    if (this.#closing) return;
    this.#countBacklog();
    this.#upstream.resume();
  }

  /** The client sent Close, or went away (1006). */
  closeFromClient(code: number, reason: string): void {
    this.exchange.closeCode ??= code;
    if (!this.#closing) {
      this.#closing = true;
      // Reading must go on, or the sandbox's answer to the Close is never seen.
      this.#upstream.resume();
      if (code === CLOSE_CODES.abnormal) this.#upstream.terminate();
      else this.#closeUpstream(code, reason);
    }
    this.#finish();
  }

  /** Closes both sides as "going away": the ingress stops. */
  goAway(reason: string): void {
    if (this.#closing) return;
    this.#closing = true;
    this.#closeClient(CLOSE_CODES.goingAway, reason);
    this.#upstream.resume();
    this.#closeUpstream(CLOSE_CODES.goingAway, reason);
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
    const { cutBy } = this.exchange;
    const isOverflow = cutBy?.code === "memory_exceeded";
    // Where too much waits already, a Close would wait behind it.
    if (isOverflow && this.#clientBacklog() > 0) this.#client?.terminate();
    else this.#closeClient(isOverflow ? CLOSE_CODES.tryAgainLater : CLOSE_CODES.goingAway, cutBy?.message ?? "");
    this.#upstream.terminate();
    this.#backlog.tryHold(this.#clientBacklog());
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
    if (sent === -1) {
      this.#upstream.pause();
      this.#countBacklog();
    } else if (sent === 0 && length > 0) {
      this.terminate();
    }
  }

  /** Counts what waits towards both ends; the tunnel with which all together hold too much ends. */
  #countBacklog(): void {
    const bytes = this.#upstream.bufferedAmount + this.#clientBacklog();
    if (this.#backlog.tryHold(bytes < UNCOUNTED_MAX_BYTES ? 0 : bytes)) return;
    this.exchange.cut(new IngressError("memory_exceeded"));
  }

  #clientBacklog(): number {
    return this.#client?.getBufferedAmount() ?? 0;
  }

  #restrainClient(): void {
    const waiting = this.#upstream.bufferedAmount;
    if (waiting < UNCOUNTED_MAX_BYTES) return;
    this.#countBacklog();
    if (this.#closing) return;
    if (waiting >= TUNNEL_HIGH_WATER_BYTES && !this.#isClientPaused) {
      this.#isClientPaused = true;
      this.#pingedAt = this.#clock.monotonic();
      this.#client?.pause();
    }
    this.#timer ??= this.#clock.setTimer(UPSTREAM_POLL_MS, () => this.#lookAtUpstream());
  }

  #lookAtUpstream(): void {
    this.#timer = undefined;
    if (this.#closing) return;
    this.#countBacklog();
    const waiting = this.#upstream.bufferedAmount;
    if (this.#isClientPaused && waiting < TUNNEL_HIGH_WATER_BYTES / 2) {
      this.#isClientPaused = false;
      this.#client?.resume();
    }
    this.#pingPausedClient();
    if (waiting < UNCOUNTED_MAX_BYTES || this.exchange.cutBy !== undefined) return;
    this.#timer = this.#clock.setTimer(UPSTREAM_POLL_MS, () => this.#lookAtUpstream());
  }

  #pingPausedClient(): void {
    const now = this.#clock.monotonic();
    if (!this.#isClientPaused || now - this.#pingedAt < PAUSED_CLIENT_PING_MS) return;
    this.#pingedAt = now;
    this.#client?.ping();
  }

  #closeFromUpstream(code: number, reason: string): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    if (this.#closing) return;
    this.#closing = true;
    this.exchange.closeCode = code;
    if (code === CLOSE_CODES.abnormal) this.#client?.terminate();
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
    if (code === CLOSE_CODES.noStatus) this.#upstream.close();
    else this.#upstream.close(code, clipReason(reason));
    this.#timer?.cancel();
    this.#timer = this.#clock.setTimer(CLOSE_TIMEOUT_MS, () => this.#upstream.terminate());
  }

  #finish(): void {
    this.#backlog.tryHold(0);
    this.#tunnels.delete(this);
    this.exchange.end(this.exchange.cutBy);
  }
}

function ignoreLateError(): void {}
