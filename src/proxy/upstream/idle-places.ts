import { type OpenConnections, splitDialled } from "./open-connections.ts";

/**
 * Idle connections that Bun keeps for plain HTTP, in the whole process (`POOL_SIZE` of its HTTP client). Nothing
 * changes it. When one more becomes idle, Bun closes the one that has been idle for longest.
 */
export const IDLE_PLACES = 64;

/** Pause between two searches for users whose places are empty, in milliseconds. A search reads the kernel's table. */
export const SEARCH_INTERVAL_MS = 10_000;

/**
 * How long a user whose connections were found closed gets no place, in milliseconds: long enough to find all such
 * users meanwhile, and short enough for a server that was only restarted.
 */
export const CLOSED_FOR_MS = 60_000;

/** One user of places: the connections of one session. Changed only by `IdlePlaces`. */
export class PlaceUser {
  /** Where its latest request went: `address:port`. */
  dialled = "";
  /** Until then it gets no place, in milliseconds of the monotonic clock. */
  closedUntil = Number.NEGATIVE_INFINITY;
  /**
   * When each of its connections that are probably idle became so, in milliseconds of the monotonic clock, the oldest
   * first. The next request takes the last one: for one request at a time Bun always uses the same connection, so the
   * others of a burst grow old.
   */
  readonly since: number[] = [];
  /** When its latest request began, in milliseconds of the monotonic clock. */
  usedAt = Number.NEGATIVE_INFINITY;
  /** Neighbours in the order of their oldest idle connections; undefined if none of its connections is idle. */
  older: PlaceUser | undefined;
  newer: PlaceUser | undefined;

  /** How many of its connections are probably idle. */
  get idle(): number {
    return this.since.length;
  }
}

/**
 * Decides which connections may become idle when there are more than places for them.
 *
 * Bun would let each connection in and close the oldest. If a hundred sandboxes are asked in turn, each connection is
 * closed just before its sandbox is asked again, so every request opens one. Here a connection gets in only if its
 * sandbox was last asked after the oldest idle connection became idle: it is then likely to be used sooner than that
 * one. The others are closed after their answer, which is also cheaper than to let Bun close them later.
 *
 * Connections in use do not count: a quiet stream may last for hours, and 64 of them would take all places.
 *
 * Bun does not tell what it keeps, so this follows what it must be. It is wrong where servers close connections without
 * saying so (HTTP/1.0). They would keep others from their places, so `search` finds them. Nothing else depends on it
 * than which requests open connections.
 */
export class IdlePlaces {
  /** Older than all others; its `newer` is the oldest user. The ring ends here, too. */
  readonly #ring = new PlaceUser();
  #taken = 0;
  /** Whether a connection got no place since the last search. */
  #hasRefused = false;
  #searchedAt = Number.NEGATIVE_INFINITY;
  readonly #idleMs: number;

  /** @param idleMs After this time Bun closes an idle connection, in milliseconds. */
  constructor(idleMs: number) {
    this.#idleMs = idleMs;
    this.#ring.older = this.#ring;
    this.#ring.newer = this.#ring;
  }

  /** Connections that are probably idle. */
  get taken(): number {
    return this.#taken;
  }

  /**
   * A request of `user` to `dialled` (`address:port`) begins. Returns whether its connection may stay open after it. If
   * so, call `park` when the connection becomes idle.
   */
  claim(user: PlaceUser, dialled: string, nowMs: number): boolean {
    const { usedAt } = user;
    user.usedAt = nowMs;
    user.dialled = dialled;
    if (user.since.pop() !== undefined) {
      this.#taken--;
      if (user.since.length === 0) this.#unlink(user);
      return true;
    }
    if (this.#taken < IDLE_PLACES) return true;
    while (this.#oldestSince <= nowMs - this.#idleMs) this.#closeOldest();
    if (this.#taken < IDLE_PLACES || usedAt > this.#oldestSince) return true;
    this.#hasRefused = true;
    return false;
  }

  /** A connection of `user` has become idle. */
  park(user: PlaceUser, nowMs: number): void {
    if (nowMs < user.closedUntil) return;
    this.#taken++;
    if (user.since.push(nowMs) === 1) this.#link(user, this.#ring);
    if (this.#taken > IDLE_PLACES) this.#closeOldest();
  }

  /** The idle connections of `user` have been closed. */
  leave(user: PlaceUser): void {
    this.#taken -= user.since.length;
    user.since.length = 0;
    this.#unlink(user);
  }

  /**
   * Takes places back from users that have no open connection. Does nothing while there are places for all, or soon
   * after the last search. Never rejects.
   * @param openConnections See `IdleProofSeams`.
   */
  async search(openConnections: OpenConnections, nowMs: number): Promise<void> {
    if (!this.#hasRefused || nowMs - this.#searchedAt < SEARCH_INTERVAL_MS) return;
    this.#hasRefused = false;
    this.#searchedAt = nowMs;
    const users: PlaceUser[] = [];
    for (let user = this.#oldest; user !== undefined && user !== this.#ring; user = user.newer) users.push(user);
    // All questions of one turn share a look at the kernel's table.
    const looks = users.map(async (user) => {
      const { address, port } = splitDialled(user.dialled);
      const open = await openConnections(address, port);
      // Its connections may have been opened after the look; the next request after `CLOSED_FOR_MS` corrects that.
      if (open?.size !== 0) return;
      this.leave(user);
      user.closedUntil = nowMs + CLOSED_FOR_MS;
    });
    await Promise.all(looks);
  }

  get #oldest(): PlaceUser | undefined {
    const oldest = this.#ring.newer;
    return oldest === this.#ring ? undefined : oldest;
  }

  /** When the oldest idle connection of all became idle; infinity: nothing is idle. */
  get #oldestSince(): number {
    return this.#oldest?.since[0] ?? Number.POSITIVE_INFINITY;
  }

  /** The oldest idle connection of all is closed. */
  #closeOldest(): void {
    const user = this.#oldest;
    if (user === undefined) return;
    this.#taken--;
    user.since.shift();
    const [next] = user.since;
    if (next === undefined) return this.#unlink(user);
    // Its second oldest has its own place in the order. There are at most as many users as places.
    let newer = user.newer ?? this.#ring;
    this.#unlink(user);
    while (newer !== this.#ring && (newer.since[0] ?? next) < next) newer = newer.newer ?? this.#ring;
    this.#link(user, newer);
  }

  /** Puts a user in front of a newer one. */
  #link(user: PlaceUser, newer: PlaceUser): void {
    const { older } = newer;
    user.older = older;
    user.newer = newer;
    newer.older = user;
    if (older !== undefined) older.newer = user;
  }

  #unlink(user: PlaceUser): void {
    const { older, newer } = user;
    if (older === undefined || newer === undefined) return;
    older.newer = newer;
    newer.older = older;
    user.older = undefined;
    user.newer = undefined;
  }
}
