import { randomBytes } from "node:crypto";

import { type Clock, sleep } from "../../clock.ts";
import { createFrameRates, type FrameRates } from "./frame-rates.ts";
import { FrameScheduler } from "./frame-scheduler.ts";
import { type MemoryLook, type RestrainedTunnel, Restraint } from "./restraint.ts";
import { UnansweredCloses } from "./unanswered-closes.ts";

/** Steps in which tunnels are closed on drain: fine enough that their clients do not all come back at once. */
const CLOSE_STEPS = 50;

/**
 * How long a side of a tunnel may be silent before it is asked whether it is there, in milliseconds. It is given up after
 * two questions, so within two minutes. Less than the idle time of common load balancers (60 s).
 */
export const TUNNEL_PING_INTERVAL_MS = 35_000;

/** Pings of ours in one sweep: 10,000 tunnels that are silent since the same moment are asked over 10 s. */
const SWEEP_MAX_PINGS = 1_000;

/** By this a pong that answers a ping of ours is told from every other; in bytes. */
const PING_PAYLOAD_BYTES = 16;

/** What the set needs of a tunnel. */
export interface OpenTunnel extends RestrainedTunnel {
  /** Closes it as "going away". */
  goAway(reason: string): void;
  /** Looks whether both sides are there; gives how many pings were sent. */
  sweep(nowMs: number, options: { readonly intervalMs: number; readonly mayAsk: boolean }): number;
  /** Ends both connections without a closing handshake. */
  terminate(): void;
}

/** What tunnels share. */
export interface TunnelSet {
  readonly scheduler: FrameScheduler;
  readonly rates: FrameRates;
  readonly unansweredCloses: UnansweredCloses;
  /** What the pings of this process carry. */
  readonly pingPayload: Buffer;
  /** Where everything is being closed, the tunnel is told at once. */
  add(tunnel: OpenTunnel): void;
  delete(tunnel: OpenTunnel): void;
}

/** All open tunnels. */
export interface Tunnels extends TunnelSet {
  readonly size: number;
  /** Finds sides that have vanished. Called with the monotonic time, at least once a second. */
  sweep(nowMs: number): void;
  /** `Restraint.look`, for all of them. */
  restrain(nowMs: number, memory: MemoryLook): void;
  /** Closes them as "going away", spread evenly over `spreadMs`; those that are opened meanwhile, at once. */
  closeAll(spreadMs: number): Promise<void>;
  /** Ends all at once, without a closing handshake. */
  terminateAll(): void;
}

const FAREWELL = "ingress is shutting down";

/** @param options `frameRate`: `--websocket-frame-rate`; `pingIntervalMs`: default `TUNNEL_PING_INTERVAL_MS`. */
export function createTunnels(
  options: { readonly frameRate: number; readonly pingIntervalMs?: number },
  seams: { readonly clock: Clock; onOpened(): void; onClosed(): void },
): Tunnels {
  const intervalMs = options.pingIntervalMs ?? TUNNEL_PING_INTERVAL_MS;
  const open = new Set<OpenTunnel>();
  const rates = createFrameRates(options.frameRate);
  const unansweredCloses = new UnansweredCloses();
  let isClosing = false;
  const restraint = new Restraint<OpenTunnel>();
  return {
    scheduler: new FrameScheduler(seams.clock),
    rates,
    unansweredCloses,
    pingPayload: randomBytes(PING_PAYLOAD_BYTES),
    get size() {
      return open.size;
    },
    add(tunnel) {
      open.add(tunnel);
      seams.onOpened();
      if (isClosing) tunnel.goAway(FAREWELL);
    },
    delete(tunnel) {
      if (open.delete(tunnel)) seams.onClosed();
    },
    sweep(nowMs) {
      let pings = 0;
      for (const tunnel of open) {
        tunnel.safely(() => (pings += tunnel.sweep(nowMs, { intervalMs, mayAsk: pings < SWEEP_MAX_PINGS })));
      }
      rates.sweep(nowMs);
    },
    restrain: (nowMs, memory) => restraint.look(open, nowMs, memory),
    async closeAll(spreadMs) {
      isClosing = true;
      const all = [...open];
      let told = 0;
      for (let step = 1; step <= CLOSE_STEPS && open.size > 0; step++) {
        for (const end = Math.ceil((all.length * step) / CLOSE_STEPS); told < end; told++) {
          const tunnel = all[told];
          tunnel?.safely(() => tunnel.goAway(FAREWELL));
        }
        await sleep(seams.clock, spreadMs / CLOSE_STEPS);
      }
    },
    terminateAll() {
      for (const tunnel of open) tunnel.safely(() => tunnel.terminate());
      unansweredCloses.terminateAll();
    },
  };
}
