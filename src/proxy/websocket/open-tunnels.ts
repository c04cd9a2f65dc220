import { randomBytes } from "node:crypto";

import { type Clock, sleep } from "../../clock.ts";
import { createFrameRates, type FrameRates } from "./frame-rates.ts";
import { FrameScheduler } from "./frame-scheduler.ts";
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

/** Growth of resident memory, in bytes, while a tunnel alone is read, by which it is taken for one that never finishes a message. */
const HIDDEN_GROWTH_BYTES = 3 * 1024 * 1024;

/** A tunnel that has finished a message within so many milliseconds is always read. */
const FINISHES_WITHIN_MS = 1_000;

/** By this a pong that answers a ping of ours is told from every other; in bytes. */
const PING_PAYLOAD_BYTES = 16;

/** What the set needs of a tunnel. */
export interface OpenTunnel {
  /** Closes it as "going away". */
  goAway(reason: string): void;
  /** Runs a callback. What it throws ends the tunnel, and nothing else. */
  safely(run: () => void): void;
  /** Looks whether both sides are there; gives how many pings were sent. */
  sweep(nowMs: number, options: { readonly intervalMs: number; readonly mayAsk: boolean }): number;
  /** Ends both connections without a closing handshake. */
  terminate(): void;
  /** Monotonic ms of the last sign of life behind a whole message; undefined: no message has been whole yet. */
  readonly finishedAt: number | undefined;
  /** Reads neither side until `release`. */
  hold(): void;
  release(): void;
  /** Ends it, because it holds too much memory. */
  endForMemory(): void;
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
  /**
   * Called every few tens of milliseconds while memory may become short (`isShort`), and once more afterwards. Bun does not show
   * how much of a message it has that is not whole. So tunnels that finish none are read one after the other, and one that
   * finishes none though memory grows meanwhile is ended.
   */
  restrain(nowMs: number, memory: { readonly isShort: boolean; readonly residentBytes: number }): void;
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
  let isRestrained = false;
  /** While memory is short: the tunnels that wait for their turn to be read, the place of the next, and the one that is read. */
  const waiting: OpenTunnel[] = [];
  let turn = 0;
  let reader: { readonly tunnel: OpenTunnel; readonly residentBytes: number } | undefined;
  const judgeReader = (residentBytes: number): void => {
    const judged = reader;
    reader = undefined;
    if (judged === undefined || residentBytes - judged.residentBytes < HIDDEN_GROWTH_BYTES) return;
    if (open.has(judged.tunnel)) judged.tunnel.safely(() => judged.tunnel.endForMemory());
  };
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
    restrain(nowMs, { isShort, residentBytes }) {
      if (!isShort && !isRestrained) return;
      isRestrained = isShort;
      judgeReader(residentBytes);
      for (const tunnel of open) {
        const mayRead = !isShort || nowMs - (tunnel.finishedAt ?? Number.NEGATIVE_INFINITY) < FINISHES_WITHIN_MS;
        tunnel.safely(() => (mayRead ? tunnel.release() : tunnel.hold()));
        if (isShort && !mayRead) waiting.push(tunnel);
      }
      if (turn >= waiting.length) turn = 0;
      const next = waiting[turn++];
      waiting.length = 0;
      if (next === undefined) return;
      reader = { tunnel: next, residentBytes };
      next.safely(() => next.release());
    },
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
