import type { Clock } from "../../clock.ts";
import type { ClientSide } from "./client-side.ts";
import type { End } from "./close-codes.ts";
import type { Exchange } from "../exchange/exchange.ts";
import { FrameLane, type LaneEnds } from "./frame-lane.ts";
import type { FrameKind } from "./frame-queue.ts";
import type { TunnelFrameRates } from "./frame-rates.ts";
import { Peers } from "./peers.ts";
import type { SandboxSide } from "./sandbox-side.ts";
import type { TunnelSet } from "./open-tunnels.ts";

/** The parts of a tunnel that exist once its client is there. */
export interface Relay {
  readonly client: ClientSide;
  readonly rates: TunnelFrameRates;
  readonly toSandbox: FrameLane;
  readonly toClient: FrameLane;
  readonly peers: Peers;
  /** Takes a message or a control frame. Called for each frame, so it must be cheap. Does not throw. */
  fromClient(kind: FrameKind, data: string | Buffer): void;
  fromSandbox(kind: FrameKind, data: Buffer): void;
  /**
   * Stops reading both sides until `release`. Used when memory is short, since Bun does not show what an unfinished
   * message holds.
   */
  hold(): void;
  release(): void;
  readonly isHeld: boolean;
  /** Drops all frames that wait in the ingress. */
  clear(): void;
  /** Bytes that wait in the ingress for either end. */
  readonly waitingBytes: number;
}

/** The parts of a relay. */
export interface RelayParts {
  /** Counts what is passed on. */
  readonly exchange: Exchange;
  readonly client: ClientSide;
  readonly sandbox: SandboxSide;
  /** As `clientNetworkOf` returns it. */
  readonly clientNetwork: string;
  readonly clock: Clock;
  readonly tunnels: TunnelSet;
}

/** The callbacks of a relay. */
export interface RelaySeams extends Pick<LaneEnds, "fail" | "onHeldBytes"> {
  /** An end sends too many control frames. */
  onFlood(from: End): void;
  /** Bun has dropped a message to the client. */
  onClientLost(): void;
}

/** Connects two sides with one lane in each direction. */
export function createRelay(parts: RelayParts, seams: RelaySeams): Relay {
  const { exchange, client, sandbox, clientNetwork, clock, tunnels } = parts;
  const now = clock.monotonic();
  let isHeld = false;
  const peers = new Peers(tunnels.pingPayload, now);
  const rates = tunnels.rates.join({ sandboxUid: exchange.upstream.uid, clientNetwork }, now);
  const context = { clock, scheduler: tunnels.scheduler };
  const common = { fail: seams.fail, onHeldBytes: seams.onHeldBytes };
  const toSandbox = new FrameLane(
    {
      ...common,
      deliver(kind, data, nowMs) {
        if (kind === "ping" || kind === "pong") exchange.noteAlive(nowMs);
        else exchange.countIn(typeof data === "string" ? Buffer.byteLength(data) : data.length, nowMs);
        sandbox.deliver(kind, data);
      },
      // Bun's client has no cork, so each frame is its own write.
      batch: (run) => run(),
      pauseSender: () => client.pause(),
      resumeSender() {
        if (!isHeld) client.resume();
      },
    },
    { ...context, rate: rates.fromClient },
  );
  const toClient = new FrameLane(
    {
      ...common,
      deliver(kind, data, nowMs) {
        if (kind === "ping" || kind === "pong") exchange.noteAlive(nowMs);
        else exchange.countOut(data.length, nowMs);
        const delivery = client.deliver(kind, data);
        if (delivery === "slow") blockClient();
        else if (delivery === "lost") seams.onClientLost();
      },
      batch(run) {
        if (client.batch(run)) blockClient();
      },
      pauseSender: () => sandbox.socket.pause(),
      resumeSender() {
        if (!isHeld) sandbox.socket.resume();
      },
    },
    { ...context, rate: rates.fromSandbox },
  );
  /** The client has not taken everything that it was sent. */
  function blockClient(): void {
    toClient.block();
    seams.onHeldBytes();
  }

  /** Whether a frame is passed on. */
  function mayPass(from: End, kind: FrameKind, data: string | Buffer, nowMs: number): boolean {
    if ((kind !== "ping" && kind !== "pong") || typeof data === "string") return true;
    const judgement = peers.judge(from, { kind, data }, nowMs);
    if (judgement === "flood") seams.onFlood(from);
    return judgement === "pass";
  }

  return {
    client,
    rates,
    toSandbox,
    toClient,
    peers,
    fromClient(kind, data) {
      try {
        const nowMs = clock.monotonic();
        peers.client.beat();
        if (mayPass("client", kind, data, nowMs)) toSandbox.push(kind, data, nowMs);
      } catch (thrown) {
        seams.fail(thrown);
      }
    },
    fromSandbox(kind, data) {
      try {
        const nowMs = clock.monotonic();
        peers.sandbox.beat();
        if (mayPass("sandbox", kind, data, nowMs)) toClient.push(kind, data, nowMs);
      } catch (thrown) {
        seams.fail(thrown);
      }
    },
    get isHeld() {
      return isHeld;
    },
    get waitingBytes() {
      return sandbox.waitingBytes + client.waitingBytes + toClient.heldBytes + toSandbox.heldBytes;
    },
    clear() {
      toClient.clear();
      toSandbox.clear();
    },
    hold() {
      isHeld = true;
      client.pause();
      sandbox.socket.pause();
    },
    release() {
      isHeld = false;
      if (!toSandbox.isPaused) client.resume();
      if (!toClient.isPaused) sandbox.socket.resume();
    },
  };
}
