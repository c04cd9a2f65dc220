import { type Clock, sleep } from "../clock.ts";
import type { Tunnel, TunnelSet } from "./tunnel.ts";

/** Steps in which tunnels are closed on drain: fine enough that their clients do not all come back at once. */
const CLOSE_STEPS = 50;

/** All open tunnels. */
export interface Tunnels extends TunnelSet {
  readonly size: number;
  /** Closes them as "going away", spread evenly over `spreadMs`; those that are opened meanwhile, too. */
  closeAll(spreadMs: number, clock: Clock): Promise<void>;
  /** Ends all at once, without a closing handshake. */
  terminateAll(): void;
}

export function createTunnels(seams: { onOpened(): void; onClosed(): void }): Tunnels {
  const open = new Set<Tunnel>();
  return {
    get size() {
      return open.size;
    },
    add(tunnel) {
      open.add(tunnel);
      seams.onOpened();
    },
    delete(tunnel) {
      if (open.delete(tunnel)) seams.onClosed();
    },
    async closeAll(spreadMs, clock) {
      for (let step = 0; step < CLOSE_STEPS; step++) {
        const share = Math.ceil(open.size / (CLOSE_STEPS - step));
        for (const tunnel of [...open].slice(0, share)) tunnel.goAway("ingress is shutting down");
        if (open.size === 0) return;
        await sleep(clock, spreadMs / CLOSE_STEPS);
      }
    },
    terminateAll() {
      for (const tunnel of open) tunnel.terminate();
    },
  };
}
