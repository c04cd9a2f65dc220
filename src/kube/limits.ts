/** What a reflector allows an API server, and itself. A seam: tests have no 75 s to wait. */
export interface ReflectorLimits {
  /** Objects asked for in one page of a list. client-go's default: large enough for few requests, small enough to parse. */
  readonly pageSize: number;
  /** The longest page, in bytes; a longer one makes the pages smaller. 500 objects at etcd's bound would be 750 MB. */
  readonly pageMaxBytes: number;
  /** The most objects of one list: ten times what one ingress is meant for; more is a server that repeats itself. */
  readonly listMaxObjects: number;
  /**
   * The longest list, all pages together, in milliseconds. API servers compact history every 5 minutes, after which a
   * `continue` token is refused anyway.
   */
  readonly listMaxMs: number;
  /** From sending a request to the head of its answer, in milliseconds. */
  readonly headMaxMs: number;
  /** Without a byte within a page, in milliseconds. */
  readonly pageStallMaxMs: number;
  /**
   * Without a byte on a watch, in milliseconds. Bookmarks come every 60 to 62 s; what has been silent for longer than
   * that is broken, and is to be noticed within 90 s, the new connection included.
   */
  readonly silenceMaxMs: number;
  /** The longest line of a watch, in bytes. etcd takes 1.5 MiB a request; raised far beyond that by few. */
  readonly lineMaxBytes: number;
  /** A watch that ends sooner and without an event has failed, in milliseconds: reconnecting at once would be a flood. */
  readonly watchMinMs: number;
  /** The server's time limit for a watch is drawn from here, in seconds, so that watches do not all end together. */
  readonly watchTimeoutSeconds: readonly [least: number, most: number];
  /** Lists in a row, none followed by a working watch, after which the next has to wait for `relistPauseMs`. */
  readonly relistsInARow: number;
  /** How old a table may get that only lists keep right, in milliseconds: a list of 100,000 costs seconds of work. */
  readonly relistPauseMs: number;
  /** Refused watches in a row (401, 5xx) after which the position is given up and everything is listed again. */
  readonly refusalsBeforeRelist: number;
}

export const DEFAULT_REFLECTOR_LIMITS: ReflectorLimits = Object.freeze<ReflectorLimits>({
  pageSize: 500,
  pageMaxBytes: 128 * 1024 * 1024,
  listMaxObjects: 1_000_000,
  listMaxMs: 300_000,
  headMaxMs: 15_000,
  pageStallMaxMs: 30_000,
  silenceMaxMs: 75_000,
  lineMaxBytes: 64 * 1024 * 1024,
  watchMinMs: 1000,
  watchTimeoutSeconds: [300, 600],
  relistsInARow: 3,
  relistPauseMs: 10_000,
  refusalsBeforeRelist: 5,
});
