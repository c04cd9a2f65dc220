/**
 * Idle connections that Bun keeps for plain HTTP, in the whole process (`POOL_SIZE` of its HTTP client). Nothing changes
 * it. When one more becomes idle, Bun closes the one that has been idle for longest.
 */
export const IDLE_PLACES = 64;

/** One user of places: the connections of one session. Changed only by `IdlePlaces`. */
export class PlaceUser {
  /** Its connections that are probably idle. */
  idle = 0;
  /** When the last of them became idle, in milliseconds of the monotonic clock. */
  idleSince = Number.NEGATIVE_INFINITY;
  /** When its latest request began, in milliseconds of the monotonic clock. */
  usedAt = Number.NEGATIVE_INFINITY;
  /** Neighbours in the order of `idleSince`; undefined if none of its connections is idle. */
  older: PlaceUser | undefined;
  newer: PlaceUser | undefined;
}

/**
 * Decides which connections may become idle when there are more than places for them.
 *
 * Bun would let each connection in and close the oldest. If a hundred sandboxes are asked in turn, each connection is
 * closed just before its sandbox is asked again, so every request opens one. Here a connection gets in only if its
 * sandbox was last asked after the oldest idle connection became idle: it is then likely to be used sooner than that
 * one. The others are closed after their answer, which is also cheaper than to let Bun close them later.
 *
 * Bun does not tell what it keeps, so this follows what it must be. It is wrong where a server closes a connection
 * without saying so. Nothing depends on it but which requests open connections.
 */
export class IdlePlaces {
  /** Older than all others; its `newer` is the oldest user. The ring ends here, too. */
  readonly #ring = new PlaceUser();
  #taken = 0;
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
   * A request of `user` begins. Returns whether its connection may stay open after it. If so, call `park` when the
   * connection becomes idle.
   */
  claim(user: PlaceUser, nowMs: number): boolean {
    const { usedAt } = user;
    user.usedAt = nowMs;
    if (user.idle > 0) {
      this.#takeOne(user);
      return true;
    }
    if (this.#taken < IDLE_PLACES) return true;
    for (let oldest = this.#oldest; oldest !== undefined && oldest.idleSince <= nowMs - this.#idleMs;) {
      this.leave(oldest);
      oldest = this.#oldest;
    }
    return this.#taken < IDLE_PLACES || usedAt > (this.#oldest?.idleSince ?? 0);
  }

  /** A connection of `user` has become idle. */
  park(user: PlaceUser, nowMs: number): void {
    this.#unlink(user);
    user.idle++;
    user.idleSince = nowMs;
    this.#taken++;
    const newest = this.#ring.older;
    user.older = newest;
    user.newer = this.#ring;
    if (newest !== undefined) newest.newer = user;
    this.#ring.older = user;
    const oldest = this.#oldest;
    if (this.#taken > IDLE_PLACES && oldest !== undefined) this.#takeOne(oldest);
  }

  /** The idle connections of `user` have been closed. */
  leave(user: PlaceUser): void {
    this.#taken -= user.idle;
    user.idle = 0;
    this.#unlink(user);
  }

  get #oldest(): PlaceUser | undefined {
    const oldest = this.#ring.newer;
    return oldest === this.#ring ? undefined : oldest;
  }

  #takeOne(user: PlaceUser): void {
    this.#taken--;
    user.idle--;
    if (user.idle === 0) this.#unlink(user);
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
