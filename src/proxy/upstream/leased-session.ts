import type { Clock } from "../../clock.ts";
import type { IngressError } from "../../errors.ts";
import { type IdlePlaces, PlaceUser } from "./idle-places.ts";

/**
 * How long idle connections to a sandbox are kept, in seconds. Most servers keep them for less, but Bun repeats a GET
 * that meets a closed one. It is short enough not to hold sockets to thousands of quiet sandboxes.
 */
export const IDLE_CONNECTION_SECONDS = 30;

/** A session that a request uses until it is released. */
export interface HeldSession {
  readonly session: Bun.FetchSession;
  /** The answer of one request announces that its connection will be closed. */
  noteClosing(): void;
  /**
   * Call this once for each lease.
   * @param error Why the request was not read to its end; undefined: it was.
   */
  release(error?: IngressError): void;
}

/** What sessions share. */
export interface SessionParts {
  readonly places: IdlePlaces;
  readonly clock: Clock;
}

/**
 * A fetch session that is closed for good when its last request has ended. `close` leaves the connections of requests
 * in flight open.
 */
export class LeasedSession implements HeldSession {
  readonly session: Bun.FetchSession;
  readonly place = new PlaceUser();
  readonly #parts: SessionParts;
  readonly #onIdle: (() => void) | undefined;
  #leases = 0;
  /** Of the leases, those whose connections their servers close. */
  #closing = 0;
  #retired = false;

  /** @param onIdle Called when its only request is over and has probably left an idle connection. */
  constructor(parts: SessionParts, onIdle?: () => void) {
    this.#parts = parts;
    this.#onIdle = onIdle;
    this.session = new Bun.FetchSession({ keepAlive: { idleTimeout: IDLE_CONNECTION_SECONDS } });
  }

  acquire(): this {
    this.#leases++;
    return this;
  }

  noteClosing(): void {
    this.#closing++;
  }

  release(error?: IngressError): void {
    this.#leases--;
    if (this.#closing > 0) this.#closing--;
    else if (error === undefined && !this.#retired) this.#parts.places.park(this.place, this.#parts.clock.monotonic());
    if (this.#leases > 0) return;
    if (this.#retired) this.session.close();
    else if (this.#onIdle === undefined) return;
    else if (error === undefined) this.#onIdle();
    else this.retire();
  }

  /** Closes idle connections. After this, `acquire` must not be called. */
  retire(): void {
    this.#retired = true;
    this.#parts.places.leave(this.place);
    this.session.close();
  }
}

/** A session for requests whose connections close after their answers. */
export class PassingSession implements HeldSession {
  readonly session = new Bun.FetchSession({ keepAlive: false });

  noteClosing(): void {}

  release(): void {}
}
