/** What a reflector allows an API server, and itself. A seam: tests have no 75 s to wait. */
export interface ReflectorLimits {
  /**
   * Objects asked for in one page of a consistent list. client-go's default. Before Kubernetes 1.34 pages come from
   * etcd, not from the API server's memory, so only a list that has to be consistent is asked for in pages.
   */
  readonly pageSize: number;
  /** The most objects of one list: ten times what one ingress is meant for; more is a server that repeats itself. */
  readonly listMaxObjects: number;
  /**
   * The longest list, all pages together, in milliseconds. API servers compact history every 5 minutes, after which a
   * `continue` token is refused anyway.
   */
  readonly listMaxMs: number;
  /** From sending a request to the head of its answer, in milliseconds. Finding the credentials is not included. */
  readonly headMaxMs: number;
  /** Without a byte within a list, in milliseconds. */
  readonly pageStallMaxMs: number;
  /**
   * Without a byte on a stream of objects, before its end is told, in milliseconds. A server that knows streams waits at
   * most 3 s for its cache; one that ignores the parameter never tells an end, and is to be listed instead.
   */
  readonly streamStallMaxMs: number;
  /** For how long a server that does not serve streams is not asked for one, in milliseconds. It may be upgraded. */
  readonly streamRetryMs: number;
  /**
   * Without a byte on a watch, in milliseconds. Bookmarks come every 60 to 62 s where a server sends them. After a
   * longer silence the connection may be dead, which is to be noticed within 90 s, the new connection included.
   */
  readonly silenceMaxMs: number;
  /**
   * Silent watches in a row after which everything is listed again. With 75 s each it is 10 minutes, the longest that
   * client-go goes without a list in a quiet namespace whose server sends no bookmarks. The list bounds the age of the
   * table where a proxy on the way holds back small amounts of data.
   */
  readonly silencesBeforeRelist: number;
  /** The longest line of a watch or object of a list, in bytes. etcd takes 1.5 MiB a request; raised far beyond by few. */
  readonly lineMaxBytes: number;
  /** A watch that ends sooner has failed, events or not, in milliseconds: reconnecting at once would be a flood. */
  readonly watchMinMs: number;
  /** The server's time limit for a watch is drawn from here, in seconds, so that watches do not all end together. */
  readonly watchTimeoutSeconds: readonly [least: number, most: number];
  /**
   * A list after lost history begins at random within this time, in milliseconds. Compaction hits the watches of all
   * replicas and namespaces in the same moment.
   */
  readonly relistSpreadMs: number;
  /** Lists in a row, none followed by a working watch, after which the next has to wait for `relistPauseMs`. */
  readonly relistsInARow: number;
  /** How old a table may get that only lists keep right, in milliseconds: a list of 100,000 costs seconds of work. */
  readonly relistPauseMs: number;
  /** Refused watches in a row (401, 5xx) after which the position is given up and everything is listed again. */
  readonly refusalsBeforeRelist: number;
}

export const DEFAULT_REFLECTOR_LIMITS: ReflectorLimits = Object.freeze<ReflectorLimits>({
  pageSize: 500,
  listMaxObjects: 1_000_000,
  listMaxMs: 300_000,
  headMaxMs: 15_000,
  pageStallMaxMs: 30_000,
  streamStallMaxMs: 10_000,
  streamRetryMs: 3_600_000,
  silenceMaxMs: 75_000,
  silencesBeforeRelist: 8,
  lineMaxBytes: 64 * 1024 * 1024,
  watchMinMs: 1000,
  watchTimeoutSeconds: [300, 600],
  relistSpreadMs: 1000,
  relistsInARow: 3,
  relistPauseMs: 10_000,
  refusalsBeforeRelist: 5,
});
