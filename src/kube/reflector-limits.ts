/** Limits on the API server and on the reflector itself. Tests use shorter times. */
export interface ReflectorLimits {
  /**
   * Objects in one page of a consistent list; client-go's default. Before Kubernetes 1.34 pages come from etcd and not
   * from the API server's memory, so only consistent lists are paged.
   */
  readonly pageSize: number;
  /**
   * Maximum number of objects in one list: ten times the planned size of a cluster. A longer list means that the server
   * repeats itself.
   */
  readonly listMaxObjects: number;
  /**
   * The longest list, all pages together, in milliseconds. API servers compact history every 5 minutes, and then refuse
   * a `continue` token anyway.
   */
  readonly listMaxMs: number;
  /** From sending a request to the head of its answer, in milliseconds. Finding the credentials is not included. */
  readonly headMaxMs: number;
  /** Longest pause without a byte within a list, in milliseconds. */
  readonly pageStallMaxMs: number;
  /**
   * Longest pause without a byte in a stream of objects, before its end marker, in milliseconds. A server that supports
   * streams waits at most 3 s for its cache. A server that ignores the parameter never sends an end marker, so it must
   * be listed instead.
   */
  readonly streamStallMaxMs: number;
  /** How long a server without support for streams is not asked for one, in milliseconds. It may be upgraded. */
  readonly streamRetryMs: number;
  /**
   * Longest pause without a byte in a watch, in milliseconds. Servers that send bookmarks send one every 60 to 62 s.
   * After a longer pause the connection may be dead; this must be noticed within 90 s, including the new connection.
   */
  readonly silenceMaxMs: number;
  /**
   * Silent watches in a row before everything is listed again. At 75 s each this is 10 minutes, the longest that
   * client-go goes without a list in a quiet namespace whose server sends no bookmarks. The list bounds the table's age
   * if a proxy in between holds back small amounts of data.
   */
  readonly silencesBeforeRelist: number;
  /**
   * The longest line of a watch or object of a list, in bytes. etcd accepts 1.5 MiB per request; few clusters raise
   * this far.
   */
  readonly lineMaxBytes: number;
  /**
   * A watch that ends sooner has failed, in milliseconds, with or without events: reconnecting at once would be a
   * flood.
   */
  readonly watchMinMs: number;
  /** Range of the server's time limit for a watch, in seconds. A random value keeps watches from ending together. */
  readonly watchTimeoutSeconds: readonly [least: number, most: number];
  /**
   * A list after lost history begins at a random moment within this time, in milliseconds. A compaction hits the
   * watches of all replicas and namespaces at the same moment.
   */
  readonly relistSpreadMs: number;
  /** Lists in a row without a working watch, after which the next list waits for `relistPauseMs`. */
  readonly relistsInARow: number;
  /**
   * Pause between lists when only lists keep the table current, in milliseconds. A list of 100,000 objects costs
   * seconds of work.
   */
  readonly relistPauseMs: number;
  /** Refused watches in a row (401, 5xx) before the position is given up and everything is listed again. */
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
