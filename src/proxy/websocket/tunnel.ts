import type { ServerWebSocket } from "bun";

import { clientNetworkOf } from "../../address.ts";
import type { Clock, Timer } from "../../clock.ts";
import { IngressError } from "../../errors.ts";
import { codeOf } from "../../values.ts";
import { ClientSide } from "./client-side.ts";
import { CLOSE_CODE_OF_CUT, CLOSE_CODE_OF_FAULT, CLOSE_CODES } from "./close-codes.ts";
import {
  attemptAll,
  deadEnding,
  type Ending,
  type Farewell,
  floodEnding,
  internalEnding,
  memoryEnding,
} from "./endings.ts";
import type { Exchange } from "../exchange/exchange.ts";
import type { FrameLane } from "./frame-lane.ts";
import type { FrameKind } from "./frame-queue.ts";
import { Liveness } from "./liveness.ts";
import { createRelay, type Relay } from "./relay.ts";
import { SandboxSide } from "./sandbox-side.ts";
import { LEFTOVER_MAX_MS, UNCOUNTED_MAX_BYTES } from "./tunnel-limits.ts";
import type { TunnelSet } from "./open-tunnels.ts";
import type { EarlyFrame, UpstreamSocket } from "./dial.ts";

/** The data of the ingress's `ServerWebSocket`s. */
export interface TunnelData {
  readonly tunnel: Tunnel;
}

export type ClientSocket = ServerWebSocket<TunnelData>;

/**
 * One relayed WebSocket: two connections. Each frame is passed on as it comes. The fast side is paused while the slow
 * one drains, or while its rate is used up. The first Close wins and crosses once (RFC 6455 §7.1.5).
 */
export class Tunnel {
  readonly exchange: Exchange;
  readonly #sandbox: SandboxSide;
  readonly #early: readonly EarlyFrame[];
  readonly #clock: Clock;
  readonly #tunnels: TunnelSet;
  #client: ClientSide | undefined;
  #relay: Relay | undefined;
  #closing = false;
  #isCut = false;
  #isFinished = false;
  #farewell: Farewell = { client: CLOSE_CODES.goingAway, sandbox: CLOSE_CODES.abnormal };
  #liveness: Liveness | undefined;
  #leftoverTimer: Timer | undefined;

  constructor(
    exchange: Exchange,
    upstream: { readonly socket: UpstreamSocket; readonly early: readonly EarlyFrame[] },
    context: { readonly clock: Clock; readonly tunnels: TunnelSet },
  ) {
    this.exchange = exchange;
    this.#early = upstream.early;
    this.#clock = context.clock;
    this.#tunnels = context.tunnels;
    this.#sandbox = new SandboxSide(upstream.socket, context.clock, {
      onWaiting: ({ hasDrained }) => {
        if (hasDrained) this.#relay?.peers.sandbox.beat();
        this.#countBacklog();
      },
      onFull: () => this.#relay?.toSandbox.block(),
      onRoom: () => this.#relay?.toSandbox.unblock(),
      safely: (run) => this.safely(run),
    });
  }

  /** The client is there. Passes on what waited, and then everything else. */
  openClient(socket: ClientSocket): void {
    const client = new ClientSide(socket);
    this.#client = client;
    this.exchange.openTunnel();
    this.#relay = createRelay(
      {
        exchange: this.exchange,
        client,
        sandbox: this.#sandbox,
        clientNetwork: clientNetworkOf(this.exchange.subject.clientAddress).network,
        clock: this.#clock,
        tunnels: this.#tunnels,
      },
      {
        onFlood: (from) => this.#endWith(floodEnding(from)),
        onClientLost: () => this.terminate(),
        onHeldBytes: () => this.#countBacklog(),
        fail: (thrown) => this.#fail(thrown),
      },
    );
    const { pingPayload } = this.#tunnels;
    this.#liveness = new Liveness(this.#relay, this.#sandbox, { pingPayload, nowMs: this.#clock.monotonic() });
    this.#sandbox.listen({
      onFrame: (kind, data) => {
        if (!this.#closing) this.#relay?.fromSandbox(kind, data);
      },
      onClose: (code, reason) => this.#closeFromSandbox(code, reason),
      onError: (error) => this.#failSandbox(error),
    });
    const { signal } = this.exchange;
    signal.addEventListener("abort", () => this.safely(() => this.#cut()), { once: true });
    this.#tunnels.add(this);
    if (signal.aborted) return this.#cut();
    this.#sandbox.takeEarly(this.#early);
    if (!this.#relay.toClient.isPaused) this.#sandbox.socket.resume();
  }

  /** The client never came. Ends the sandbox's connection, so that the sandbox does not believe otherwise. */
  abandon(): void {
    this.#closing = true;
    this.#sandbox.abandon();
  }

  /** Runs a callback of either connection. If it throws, only this tunnel ends. */
  safely(run: () => void): void {
    try {
      run();
    } catch (thrown) {
      this.#fail(thrown);
    }
  }

  /** Takes a message or a control frame from the client. Does not throw. */
  fromClient(kind: FrameKind, data: string | Buffer): void {
    if (!this.#closing) this.#relay?.fromClient(kind, data);
  }

  /** The client's buffer has drained. */
  clientDrained(): void {
    this.#relay?.peers.client.beat();
    this.#relay?.toClient.unblock();
    this.#countBacklog();
  }

  /** The client sent Close, or went away (1006). */
  closeFromClient(code: number, reason: string): void {
    this.exchange.closeCode ??= code;
    this.#client?.leave();
    this.#relay?.toClient.clear();
    if (!this.#closing) {
      this.#closing = true;
      // Reading must go on, or the sandbox's answer to the Close is never seen.
      this.#sandbox.socket.resume();
      this.#endLane(this.#relay?.toSandbox, () => this.#sandbox.close(code, reason));
    }
    this.#finishIfDone();
  }

  /** Monotonic ms of the last sign of life after a whole message; undefined: no message is whole yet. */
  get finishedAt(): number | undefined {
    const { bytesIn, bytesOut, activeAt } = this.exchange;
    return bytesIn + bytesOut > 0 ? activeAt : undefined;
  }

  /** Stops reading both sides until `release`. */
  hold(): void {
    if (!this.#closing && this.#relay?.isHeld === false) this.#relay.hold();
  }

  release(): void {
    if (!this.#closing && this.#relay?.isHeld === true) this.#relay.release();
  }

  /** Ends the tunnel because it holds too much memory. */
  endForMemory(): void {
    this.exchange.cut(new IngressError("memory_exceeded"));
  }

  /** Closes both sides as "going away", after the frames that still wait, because the ingress stops. */
  goAway(reason: string): void {
    if (this.#closing || this.#relay === undefined) return;
    this.#closing = true;
    const { client, toClient, toSandbox } = this.#relay;
    this.#sandbox.socket.resume();
    this.#endLane(toSandbox, () => this.#sandbox.close(CLOSE_CODES.goingAway, reason));
    this.#endLane(toClient, () => client.close(CLOSE_CODES.goingAway, reason));
  }

  /** Ends both connections without a closing handshake, for example because the drain time is over. */
  terminate(): void {
    this.#closing = true;
    this.#relay?.clear();
    this.#finishIfDone();
    this.#relay?.client.terminate();
    this.#sandbox.terminate();
  }

  /**
   * Checks whether both sides are still there, and whether the sandbox has closed.
   *
   * @param options `intervalMs`: the silence after which a side gets a ping; `mayAsk`: false if this sweep has sent
   * enough pings.
   * @returns How many pings were sent.
   */
  sweep(nowMs: number, options: { readonly intervalMs: number; readonly mayAsk: boolean }): number {
    if (this.#relay === undefined) return 0;
    // The `close` event follows, with the code that the sandbox sent.
    if (this.#sandbox.isHalfClosed && !this.#closing) this.#sandbox.terminate();
    if (this.#closing || !options.mayAsk || this.#liveness === undefined) return 0;
    const { dead, pings } = this.#liveness.look(nowMs, options.intervalMs);
    if (dead !== undefined) this.#endWith(deadEnding(dead));
    return pings;
  }

  /** Counts what waits for both ends. If the account refuses more, this tunnel ends. */
  #countBacklog(): void {
    if (this.#relay === undefined || this.#isFinished) return;
    const { client, waitingBytes: bytes } = this.#relay;
    if (this.exchange.tryHold(bytes < UNCOUNTED_MAX_BYTES ? 0 : bytes) || this.exchange.cutBy !== undefined) return;
    this.#endWith(memoryEnding(client.waitingBytes > 0));
  }

  /** Ends the tunnel after an error in the ingress itself. */
  #fail(thrown: unknown): void {
    attemptAll([
      () => this.#endWith(internalEnding(thrown)),
      // If the relay could not be made, nothing else closes the client's connection.
      () => this.#relay ?? this.#client?.close(CLOSE_CODES.internalError, ""),
      () => this.#sandbox.terminate(),
      () => this.#finishIfDone(),
      // A lane that throws may never end.
      () => this.#client?.isGone === true && this.#finish(),
    ]);
  }

  #endWith({ error, farewell }: Ending): void {
    if (!this.#closing) this.#farewell = farewell;
    this.exchange.cut(error);
    // The signal has called this already, unless the exchange had ended.
    this.#cut();
  }

  /** The exchange was cut: the sandbox is gone or replaced, or a limit was reached. Tells both sides. */
  #cut(): void {
    if (this.#isCut) return;
    this.#isCut = true;
    const sandboxCode = this.#closing ? CLOSE_CODES.abnormal : this.#farewell.sandbox;
    this.#closing = true;
    this.#relay?.clear();
    this.#finishIfDone();
    const { cutBy } = this.exchange;
    const clientCode = CLOSE_CODE_OF_CUT[cutBy?.code ?? ""] ?? this.#farewell.client;
    this.#relay?.client.close(clientCode, cutBy?.message ?? "");
    this.#sandbox.close(sandboxCode, "");
  }

  #closeFromSandbox(code: number, reason: string): void {
    this.#sandbox.stop();
    this.#tunnels.unansweredCloses.delete(this.#sandbox);
    this.#relay?.toSandbox.clear();
    if (!this.#closing) {
      this.#closing = true;
      this.exchange.closeCode = code;
      this.#endLane(this.#relay?.toClient, () => this.#relay?.client.close(code, reason));
    }
    this.#finishIfDone();
  }

  /** The sandbox broke the protocol or sent too much. The bad frame never reaches the client. */
  #failSandbox(error: Error): void {
    if (this.#closing) return;
    this.#closing = true;
    const code = CLOSE_CODE_OF_FAULT[codeOf(error)];
    this.#relay?.toSandbox.clear();
    this.#endLane(this.#relay?.toClient, () => this.#relay?.client.close(code ?? CLOSE_CODES.abnormal, ""));
    this.#sandbox.terminate();
  }

  /** Calls `then` after everything that waits in the lane. */
  #endLane(lane: FrameLane | undefined, then: () => void): void {
    lane?.end(() => {
      then();
      this.#finishIfDone();
    });
    if (lane?.isEnded === false) {
      this.#leftoverTimer ??= this.#clock.setTimer(LEFTOVER_MAX_MS, () => this.safely(() => this.terminate()));
    }
  }

  /** Finishes if the client's connection has ended and the sandbox has got everything that came over it. */
  #finishIfDone(): void {
    if (this.#client?.isGone === true && this.#relay?.toSandbox.isEnded !== false) this.#finish();
  }

  #finish(): void {
    if (this.#isFinished) return;
    this.#isFinished = true;
    this.#leftoverTimer?.cancel();
    this.exchange.tryHold(0);
    this.#relay?.rates.leave();
    this.#tunnels.delete(this);
    if (!this.#sandbox.isClosed) this.#tunnels.unansweredCloses.add(this.#sandbox);
    this.exchange.end(this.exchange.cutBy);
  }
}
