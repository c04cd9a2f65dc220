import type { Clock } from "../clock.ts";
import type { SandboxRecord } from "../sandbox/provider.ts";
import type { Explanation } from "./explain/explain.ts";
import type { AskedRequest } from "./explain/question.ts";
import type { Exchange } from "./exchange/exchange.ts";
import type { Holds } from "./hold/holds.ts";
import type { Failure, FailureList } from "./report/failure-list.ts";
import type { Tallies } from "./upstream/tallies.ts";
import type { UpstreamPool } from "./upstream/upstream.ts";

/** What one sandbox has of the proxy, now and before. */
export interface SandboxTraffic {
  /** Requests and WebSockets that are open. */
  readonly open: number;
  /** Requests and WebSockets that ended since the ingress began to know the sandbox. */
  readonly requests: number;
  /** Those among them that failed, or were answered with a status from 500 on. */
  readonly errors: number;
  /** Wall-clock milliseconds of the last use; now where something is open; 0: it has not been used. */
  readonly lastUsedMs: number;
}

/** What operators see of the proxy. Reading it changes nothing but the count of wrong signatures. */
export interface ProxyInspection {
  /** What is open, in no order. What ends meanwhile is left out. */
  exchanges(): Iterable<Exchange>;
  /** The last failures, the newest first. */
  failures(): readonly Failure[];
  trafficOf(record: SandboxRecord): SandboxTraffic;
  /** Requests that wait for their sandboxes now, and sandboxes that are being woken. */
  waits(): { readonly held: number; readonly waking: number };
  waitsOf(record: SandboxRecord): { readonly held: number; readonly isWaking: boolean };
  /** What would become of a request; see `explainRequest`. */
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
    trafficOf({ uid }) {
      const upstream = upstreams.find(uid);
      const tally = upstream?.tally ?? tallies.find(uid);
      if (tally === undefined) return NO_TRAFFIC;
      const open = upstream?.share.requests ?? 0;
      const { requests, errors, lastEndedAt } = tally;
      const sinceMs = open > 0 ? 0 : clock.monotonic() - (lastEndedAt ?? Number.NEGATIVE_INFINITY);
      return { open, requests, errors, lastUsedMs: Number.isFinite(sinceMs) ? clock.now() - sinceMs : 0 };
    },
  };
}
