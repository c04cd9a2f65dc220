import type { Clock } from "../../clock.ts";
import type { ClientSide } from "./client-side.ts";
import { FrameLane, type LaneEnds } from "./frame-lane.ts";
import type { FramePayers, TunnelFrameRates } from "./frame-rates.ts";
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
  /**
   * Stops reading both sides until `release`. Used when memory is short, since Bun does not show what an unfinished
   * message holds.
   */
  hold(): void;
  release(): void;
  readonly isHeld: boolean;
}

/** The parts of a relay. */
export interface RelayParts {
  readonly client: ClientSide;
  readonly sandbox: SandboxSide;
  readonly payers: FramePayers;
  readonly clock: Clock;
  readonly tunnels: TunnelSet;
}

/** The callbacks of a relay. */
export interface RelaySeams extends Pick<LaneEnds, "fail" | "onHeldBytes"> {
  readonly deliverToSandbox: LaneEnds["deliver"];
  readonly deliverToClient: LaneEnds["deliver"];
  /** The client has not taken everything that it was sent. */
  onClientSlow(): void;
}

/** Connects two sides with one lane in each direction. */
export function createRelay(parts: RelayParts, seams: RelaySeams): Relay {
  const { client, sandbox, payers, clock, tunnels } = parts;
  const now = clock.monotonic();
  let isHeld = false;
  const rates = tunnels.rates.join(payers, now);
  const context = { clock, scheduler: tunnels.scheduler };
  const common = { fail: seams.fail, onHeldBytes: seams.onHeldBytes };
  const toSandbox = new FrameLane(
    {
      ...common,
      deliver: seams.deliverToSandbox,
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
      deliver: seams.deliverToClient,
      batch(run) {
        if (client.batch(run)) seams.onClientSlow();
      },
      pauseSender: () => sandbox.socket.pause(),
      resumeSender() {
        if (!isHeld) sandbox.socket.resume();
      },
    },
    { ...context, rate: rates.fromSandbox },
  );
  return {
    client,
    rates,
    toSandbox,
    toClient,
    peers: new Peers(tunnels.pingPayload, now),
    get isHeld() {
      return isHeld;
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
