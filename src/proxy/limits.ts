import { IngressError } from "../errors.ts";
import type { Upstream } from "./upstream.ts";

/** How many requests may be in flight: the bound on everything that a request holds. */
export interface Limits {
  /** Throws `too_many_requests` or `too_many_requests_sandbox` when one more would exceed a limit. */
  check(upstream: Upstream): void;
  /** Counts one that begins; every call is matched by one `leave`. */
  enter(): void;
  leave(): void;
  /** How many are in flight now, tunnels included. */
  inFlight(): number;
}

/** @param options Both limits count requests and tunnels; 0 means none. */
export function createLimits(options: {
  readonly maxRequests: number;
  readonly maxRequestsPerSandbox: number;
}): Limits {
  const { maxRequests, maxRequestsPerSandbox } = options;
  let inFlight = 0;
  return {
    check(upstream) {
      if (maxRequests > 0 && inFlight >= maxRequests) throw new IngressError("too_many_requests");
      if (maxRequestsPerSandbox > 0 && upstream.inFlight.size >= maxRequestsPerSandbox) {
        throw new IngressError("too_many_requests_sandbox");
      }
    },
    enter: () => void inFlight++,
    leave: () => void inFlight--,
    inFlight: () => inFlight,
  };
}
