import { randomBytes } from "node:crypto";

import { type Clock, sleep } from "../../clock.ts";
import { createFrameRates, type FrameRates } from "./frame-rates.ts";
import { FrameScheduler } from "./frame-scheduler.ts";
import { type MemoryLook, type RestrainedTunnel, Restraint } from "./restraint.ts";
import { UnansweredCloses } from "./unanswered-closes.ts";

/** Steps in which a drain closes tunnels. There are enough of them that clients do not all come back at once. */
const CLOSE_STEPS = 50;

/**
 * How long a side of a tunnel may be silent before it gets a ping, in milliseconds. It is given up after two pings, so
 * within two minutes. The time is less than the idle time of common load balancers (60 s).
 */
export const TUNNEL_PING_INTERVAL_MS = 35_000;

/**
 * The most pings that the ingress sends in one sweep. 10,000 tunnels that fell silent at the same moment are asked
 * within a few seconds.
 */
const SWEEP_MAX_PINGS = 1_000;

/** Length in bytes of the payload that identifies pongs to the ingress's own pings. */
const PING_PAYLOAD_BYTES = 16;

/** What the set needs from a tunnel. */
export interface OpenTunnel extends RestrainedTunnel {
  /** Closes it as "going away". */
  goAway(reason: string): void;
  /** Checks whether both sides are there. Returns how many pings it sent. */
  sweep(nowMs: number, options: { readonly intervalMs: number; readonly mayAsk: boolean }): number;
  /** Ends both connections without a closing handshake. */
  terminate(): void;
}

/** What tunnels share. */
export interface TunnelSet {
  readonly scheduler: FrameScheduler;
  readonly rates: FrameRates;
  readonly unansweredCloses: UnansweredCloses;
  /** The payload of this process's pings. */
  readonly pingPayload: Buffer;
  /** Adds a tunnel. If all tunnels are being closed, it is told at once. */
  add(tunnel: OpenTunnel): void;
  delete(tunnel: OpenTunnel): void;
}

/** All open tunnels. */
export interface Tunnels extends TunnelSet {
  readonly size: number;
  /** Finds sides that have vanished. Call it with the monotonic time, at least once a second. */
  sweep(nowMs: number): void;
  /** `Restraint.look`, for all of them. */
  restrain(nowMs: number, memory: MemoryLook): void;
  /**
   * Closes all tunnels as "going away", spread evenly over `spreadMs`. Tunnels that open meanwhile are closed at once.
   */
  closeAll(spreadMs: number): Promise<void>;
  /** Ends all tunnels at once, without a closing handshake. */
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
