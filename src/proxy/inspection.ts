import type { Clock } from "../clock.ts";
import type { SandboxRecord } from "../sandbox/provider.ts";
import type { Explanation } from "./explain/explanation.ts";
import type { AskedRequest } from "./explain/question.ts";
import type { Exchange } from "./exchange/exchange.ts";
import type { Holds } from "./hold/holds.ts";
import type { Failure, FailureList } from "./report/failure-list.ts";
import type { Tallies } from "./upstream/tallies.ts";
import type { UpstreamPool } from "./upstream/upstream.ts";

/** The traffic of one sandbox, now and before. */
export interface SandboxTraffic {
  /** Open requests and WebSockets. */
  readonly open: number;
  /** Requests and WebSockets that were handed on and ended since the ingress first saw the sandbox. */
  readonly requests: number;
  /** How many of them failed or got a status of 500 or more. */
  readonly errors: number;
  /**
   * Wall-clock milliseconds of the last use. It is the current time while something is open that does not wait; 0:
   * never used.
   */
  readonly lastUsedMs: number;
}

/** The view of the proxy for operators. Reading it changes nothing, except that `explain` counts wrong signatures. */
export interface ProxyInspection {
  /** Open exchanges, in no order. Exchanges that end during the iteration are left out. */
  exchanges(): Iterable<Exchange>;
  /** The last failures, newest first. */
  failures(): readonly Failure[];
  trafficOf(record: SandboxRecord): SandboxTraffic;
  /** How many requests wait for their sandboxes now, and how many sandboxes are being woken. */
  waits(): { readonly held: number; readonly waking: number };
  waitsOf(record: SandboxRecord): { readonly held: number; readonly isWaking: boolean };
  /** Explains what would happen to a request; see `explainRequest`. */
  explain(asked: AskedRequest, peer: string): Promise<Explanation>;
}

const NO_TRAFFIC: SandboxTraffic = Object.freeze({ open: 0, requests: 0, errors: 0, lastUsedMs: 0 });

export function createInspection(parts: {
  readonly clock: Clock;
  readonly register: Iterable<Exchange>;
  readonly failures: FailureList;
  readonly upstreams: UpstreamPool;
  readonly tallies: Tallies;
  readonly holds: Holds;
  readonly explain: ProxyInspection["explain"];
}): ProxyInspection {
  const { clock, register, failures, upstreams, tallies } = parts;
  return {
    exchanges: () => register,
    explain: parts.explain,
    failures: () => failures.list(),
    waits: () => parts.holds.counters(),
    waitsOf: (record) => parts.holds.countersOf(record),
    trafficOf(record) {
      const { uid } = record;
      const upstream = upstreams.find(uid);
      const tally = upstream?.tally ?? tallies.find(uid);
      if (tally === undefined) return NO_TRAFFIC;
      const open = upstream?.share.requests ?? 0;
      const { requests, errors, lastEndedAt } = tally;
      // A request that waits may still be refused, which is no use of the sandbox.
      const inUse = open > parts.holds.countersOf(record).held;
      const sinceMs = inUse ? 0 : clock.monotonic() - (lastEndedAt ?? Number.NEGATIVE_INFINITY);
      return { open, requests, errors, lastUsedMs: Number.isFinite(sinceMs) ? clock.now() - sinceMs : 0 };
    },
  };
}
