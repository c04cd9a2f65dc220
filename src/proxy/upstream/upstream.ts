import { IngressError } from "../../errors.ts";
import type { SandboxRecord } from "../../sandbox/provider.ts";
import { ExchangeShare } from "../exchange/share.ts";
import { Tallies, type Tally } from "./tallies.ts";

/**
 * Idle connections to a sandbox are kept for this long, in seconds. Longer than most servers keep them, since a GET
 * that meets a closed one is sent again by Bun; short enough not to hold sockets to thousands of quiet sandboxes.
 */
const IDLE_CONNECTION_SECONDS = 30;

/**
 * Age in milliseconds below which an idle connection may carry a request that must not be sent twice (RFC 9110 §9.2.2).
 * Half of the shortest keep-alive that servers in use have (gunicorn, 2 s): such a connection is not about to be closed.
 */
const FRESH_SESSION_MS = 1_000;

/** An upstream without a request for so long is forgotten, in milliseconds; the next request makes a new one. */
const UPSTREAM_IDLE_MS = 300_000;

/** How a request may share connections. */
export type Repeatability =
  /** Idempotent and without a streamed body: Bun sends it again when an idle connection turns out to be closed. */
  | "repeatable"
  /** POST and PATCH: only on a connection that cannot have been closed for idleness. */
  | "once"
  /** A streamed body: only on a new connection. */
  | "streamed";

/** The connections to one generation (uid and endpoint) of one sandbox. */
export class Upstream {
  readonly uid: string;
  readonly endpoint: string;
  /** Its exchanges, and what they hold; the register keeps it. */
  readonly share = new ExchangeShare();
  /** What its sandbox has had of requests. */
  readonly tally: Tally;
  lastUsedAt: number;
  #ended = false;
  readonly #shared = new LeasedSession(IDLE_CONNECTION_SECONDS);
  #fresh: LeasedSession | undefined;
  #freshSince = 0;
  /** Ports on which a connection is known to have stood. */
  readonly #connected = new Set<number>();
  #lastConnected = 0;
  /** Ports whose server closed a reused connection without saying so beforehand: POSTs there get new connections. */
  readonly #closers = new Set<number>();

  constructor(record: SandboxRecord, nowMs: number, tally: Tally) {
    this.tally = tally;
    this.uid = record.uid;
    this.endpoint = record.endpoint;
    this.lastUsedAt = nowMs;
  }

  /** Whether a request to `port` may use a connection that another one has used, and leave its own to the next. */
  mayReuse(port: number, repeatability: Repeatability): boolean {
    return repeatability === "repeatable" || (repeatability === "once" && !this.#closers.has(port));
  }

  /** The session for a request; `release` it when the last byte of the answer is read. */
  lease(repeatability: Repeatability, nowMs: number): LeasedSession {
    this.lastUsedAt = nowMs;
    if (repeatability !== "once") return this.#shared.acquire();
    if (this.#fresh === undefined || nowMs - this.#freshSince >= FRESH_SESSION_MS) {
      this.#fresh?.retire();
      this.#fresh = new LeasedSession(IDLE_CONNECTION_SECONDS);
      this.#freshSince = nowMs;
    }
    return this.#fresh.acquire();
  }

  /** Remembers, for this generation's life, that a connection to `port` stood. */
  noteConnected(port: number): void {
    if (port === this.#lastConnected) return;
    this.#lastConnected = port;
    this.#connected.add(port);
  }

  /** Whether a connection to `port` ever stood. */
  hasConnected(port: number): boolean {
    return this.#connected.has(port);
  }

  /** Remembers, for this generation's life, that the server on `port` closes idle connections at once. */
  noteClosedWhileIdle(port: number): void {
    this.#closers.add(port);
  }

  /** Closes idle connections once nobody uses them, while requests in flight go on. */
  retire(): void {
    this.#shared.retire();
    this.#fresh?.retire();
    this.#fresh = undefined;
  }

  /** Ends the generation: cuts what is in flight, closes what is idle. */
  end(error: IngressError): void {
    if (this.#ended) return;
    this.#ended = true;
    for (const exchange of this.share.exchanges) exchange.cut(error);
    this.retire();
  }
}

/** A fetch session that is closed for good only when its last request has ended (`close` leaves the connections of requests in flight open). */
export class LeasedSession {
  readonly session: Bun.FetchSession;
  #leases = 0;
  #retired = false;

  constructor(idleSeconds: number) {
    this.session = new Bun.FetchSession({ keepAlive: { idleTimeout: idleSeconds } });
  }

  acquire(): this {
    this.#leases++;
    return this;
  }

  /** Called once for each `acquire`. */
  release(): void {
    this.#leases--;
    if (this.#retired && this.#leases === 0) this.session.close();
  }

  /** Closes what is idle; nothing may be acquired any more. */
  retire(): void {
    this.#retired = true;
    this.session.close();
  }
}

/** All upstreams in use, by the uid of their sandbox. */
export interface UpstreamPool {
  /** The upstream of the record's generation; an older generation of the same sandbox is ended first. */
  acquire(record: SandboxRecord, nowMs: number): Upstream;
  /** The upstream of a sandbox's uid; undefined: it has had no request of late. */
  find(uid: string): Upstream | undefined;
  /** Ends the record's generation, where anything is known of it. */
  endGeneration(record: SandboxRecord): void;
  /** Whether a generation whose endpoint is `name` has open exchanges. */
  isEndpointInUse(name: string): boolean;
  /** Ends the generations whose endpoint is `name`: it names another address now. */
  endEndpoint(name: string): void;
  /** Forgets upstreams that have been idle for long. */
  sweep(nowMs: number): void;
  /** Ends everything. */
  close(error: IngressError): void;
}

/** @param tallies Where the tallies of sandboxes are kept. */
export function createUpstreamPool(tallies = new Tallies()): UpstreamPool {
  const upstreams = new Map<string, Upstream>();
  /** The same by endpoint. Names are looked up again while they are in use, so this must not cost a walk through all. */
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
      const upstream = new Upstream(record, nowMs, tallies.take(record.uid));
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
