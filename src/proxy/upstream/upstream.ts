import { IngressError } from "../../errors.ts";
import type { SandboxRecord } from "../../sandbox/provider.ts";
import { ExchangeShare } from "../exchange/share.ts";
import { Tallies, type Tally } from "./tallies.ts";
import { IdlePlaces } from "./idle-places.ts";
import { IdleProofs, type IdleProofSeams } from "./idle-proofs.ts";
import {
  type HeldSession,
  IDLE_CONNECTION_SECONDS,
  LeasedSession,
  PassingSession,
  type SessionParts,
} from "./leased-session.ts";

/**
 * Age in milliseconds below which an idle connection may carry a request that must not be sent twice (RFC 9110 §9.2.2).
 * It is half of the shortest keep-alive time of common servers (gunicorn, 2 s), so such a connection is not about to be
 * closed. `IdleProofs` first checks that this holds for the server, with a connection that was idle for longer.
 */
const FRESH_SESSION_MS = 1_000;

/** An upstream without a request for this long is forgotten, in milliseconds. The next request makes a new one. */
const UPSTREAM_IDLE_MS = 300_000;

/** How a request may share connections. */
export type Repeatability =
  /** Idempotent and without a streamed body: Bun sends it again if an idle connection turns out to be closed. */
  | "repeatable"
  /** POST and PATCH: only on a new connection, or on one that is too fresh to be closed for idleness. */
  | "once"
  /** A streamed body: only on a new connection. */
  | "streamed";

/** The session for one request. */
export interface Lease {
  /** Release it when the last byte of the answer is read. */
  readonly held: HeldSession;
  /** Whether the connection stays open for a later request or for a check. */
  readonly keepsConnection: boolean;
  /** Whether another request may have used the connection. */
  readonly mayBeUsed: boolean;
}

interface UpstreamParts extends SessionParts {
  readonly seams: IdleProofSeams;
  readonly tally: Tally;
  /** Closes each connection after its answer. Nothing remains of a request, so all generations share it. */
  readonly passing: HeldSession;
}

/** The connections to one generation (uid and endpoint) of one sandbox. */
export class Upstream {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly endpoint: string;
  /** Its exchanges and what they hold. The register maintains it. */
  readonly share = new ExchangeShare();
  /** The requests of its sandbox so far. */
  readonly tally: Tally;
  lastUsedAt: number;
  #ended = false;
  readonly #parts: UpstreamParts;
  readonly #shared: LeasedSession;
  #fresh: LeasedSession | undefined;
  #freshSince = 0;
  /** Ports to which a connection is known to have been open. */
  readonly #connected = new Set<number>();
  #lastConnected = 0;
  readonly #proofs: IdleProofs;

  constructor(record: SandboxRecord, nowMs: number, parts: UpstreamParts) {
    this.#parts = parts;
    this.tally = parts.tally;
    this.#shared = new LeasedSession(parts);
    this.namespace = record.namespace;
    this.name = record.name;
    this.uid = record.uid;
    this.endpoint = record.endpoint;
    this.lastUsedAt = nowMs;
    this.#proofs = new IdleProofs(this.share, parts.seams);
  }

  /**
   * Returns the session for a request to `dialled` (`address:port`). Call `release` on what it holds when the last byte
   * of the answer is read.
   */
  lease(dialled: string, port: number, options: { repeatability: Repeatability; nowMs: number }): Lease {
    const { repeatability, nowMs } = options;
    this.lastUsedAt = nowMs;
    switch (repeatability) {
      case "repeatable":
        return this.#proofs.isWatching(port) ? this.#leaseAlone() : this.#leaseUsed(this.#shared, dialled, nowMs);
      case "streamed":
        return this.#leaseAlone();
      case "once":
        switch (this.#proofs.standing(port, nowMs)) {
          case "keeps":
            return this.#leaseUsed(this.#freshSession(nowMs), dialled, nowMs);
          case "untested":
            return this.#leaseForProof(dialled, port);
          case "closes":
            return this.#leaseAlone();
        }
    }
  }

  #leaseUsed(session: LeasedSession, dialled: string, nowMs: number): Lease {
    if (!this.#parts.places.claim(session.place, dialled, nowMs)) return this.#leaseAlone();
    return { held: session.acquire(), keepsConnection: true, mayBeUsed: true };
  }

  #leaseAlone(): Lease {
    return { held: this.#parts.passing, keepsConnection: false, mayBeUsed: false };
  }

  /** A session whose connection no other request uses. The connection may be watched when the request is over. */
  #leaseForProof(dialled: string, port: number): Lease {
    const session = new LeasedSession(this.#parts, () => this.#proofs.offer(session, { dialled, port }));
    return { held: session.acquire(), keepsConnection: true, mayBeUsed: false };
  }

  #freshSession(nowMs: number): LeasedSession {
    if (this.#fresh === undefined || nowMs - this.#freshSince >= FRESH_SESSION_MS) {
      this.#fresh?.retire();
      this.#fresh = new LeasedSession(this.#parts);
      this.#freshSince = nowMs;
    }
    return this.#fresh;
  }

  /** Remembers, as long as this generation lives, that a connection to `port` was open. */
  noteConnected(port: number): void {
    if (port === this.#lastConnected) return;
    this.#lastConnected = port;
    this.#connected.add(port);
  }

  /** Whether a connection to `port` was ever open. */
  hasConnected(port: number): boolean {
    return this.#connected.has(port);
  }

  /**
   * Remembers, as long as this generation lives, that the server on `port` closed a connection that had been used
   * before.
   */
  noteClosedWhileIdle(port: number): void {
    this.#proofs.refute(port);
  }

  /** Closes idle connections. Requests in flight go on, and their connections close after them. */
  retire(): void {
    this.#shared.retire();
    this.#fresh?.retire();
    this.#fresh = undefined;
    this.#proofs.end();
  }

  /** Ends the generation: cuts requests in flight and closes idle connections. */
  end(error: IngressError): void {
    if (this.#ended) return;
    this.#ended = true;
    // Requests that wait for their sandbox go to the next generation.
    for (const exchange of this.share.exchanges) if (exchange.state !== "held") exchange.cut(error);
    this.retire();
  }
}

/** All upstreams in use, by the uid of their sandbox. */
export interface UpstreamPool {
  /** The upstream of the record's generation. Ends an older generation of the same sandbox first. */
  acquire(record: SandboxRecord, nowMs: number): Upstream;
  /** The upstream of a sandbox's uid; undefined: the sandbox has had no request recently. */
  find(uid: string): Upstream | undefined;
  /** Ends the record's generation, if it is known. */
  endGeneration(record: SandboxRecord): void;
  /** Whether a generation whose endpoint is `name` has open exchanges. */
  isEndpointInUse(name: string): boolean;
  /** Ends the generations whose endpoint is `name`, since the name has another address now. */
  endEndpoint(name: string): void;
  /** Forgets upstreams that have been idle for `UPSTREAM_IDLE_MS`. */
  sweep(nowMs: number): void;
  /** Ends everything. */
  close(error: IngressError): void;
}

/** @param tallies Where the tallies of sandboxes are kept. */
export function createUpstreamPool(seams: IdleProofSeams, tallies = new Tallies()): UpstreamPool {
  const passing = new PassingSession();
  const places = new IdlePlaces(IDLE_CONNECTION_SECONDS * 1000);
  const parts = { seams, places, passing, clock: seams.clock };
  const upstreams = new Map<string, Upstream>();
  /** The same by endpoint. It is read at every look-up of a name, so it must not need a walk through all upstreams. */
  const byEndpoint = new Map<string, Set<Upstream>>();

  const add = (upstream: Upstream): void => {
    upstreams.set(upstream.uid, upstream);
    const sharing = byEndpoint.get(upstream.endpoint);
    if (sharing === undefined) byEndpoint.set(upstream.endpoint, new Set([upstream]));
    else sharing.add(upstream);
  };
  const remove = (upstream: Upstream): void => {
    upstreams.delete(upstream.uid);
    const sharing = byEndpoint.get(upstream.endpoint);
    sharing?.delete(upstream);
    if (sharing?.size === 0) byEndpoint.delete(upstream.endpoint);
  };
  return {
    acquire(record, nowMs) {
      const known = upstreams.get(record.uid);
      if (known !== undefined) {
        if (known.endpoint === record.endpoint) return known;
        remove(known);
        known.end(new IngressError("sandbox_replaced"));
      }
      const upstream = new Upstream(record, nowMs, { ...parts, tally: tallies.take(record.uid) });
      add(upstream);
      return upstream;
    },
    find: (uid) => upstreams.get(uid),
    endGeneration(record) {
      const known = upstreams.get(record.uid);
      if (known === undefined || known.endpoint !== record.endpoint) return;
      remove(known);
      known.end(new IngressError("sandbox_replaced"));
    },
    isEndpointInUse: (name) => [...(byEndpoint.get(name) ?? [])].some(({ share }) => share.requests > 0),
    endEndpoint(name) {
      for (const upstream of byEndpoint.get(name) ?? []) {
        remove(upstream);
        upstream.end(new IngressError("sandbox_replaced"));
      }
    },
    sweep(nowMs) {
      void places.search(seams.openConnections, nowMs);
      for (const upstream of upstreams.values()) {
        if (upstream.share.requests > 0 || nowMs - upstream.lastUsedAt < UPSTREAM_IDLE_MS) continue;
        remove(upstream);
        upstream.retire();
      }
    },
    close(error) {
      for (const upstream of upstreams.values()) upstream.end(error);
      upstreams.clear();
      byEndpoint.clear();
    },
  };
}
