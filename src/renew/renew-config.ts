/** The `--activity-*` flags (docs/contract.md §9). */
export interface ActivityConfig {
  readonly enabled: boolean;
  /** `--activity-redis-dsn`. Carries a password: never logged. */
  readonly redisDsn: string;
  /** `--activity-min-interval`, 5 s: notes of one sandbox are at least so far apart, in milliseconds. */
  readonly minIntervalMs: number;
  /** `--activity-ttl-seconds`, 1800. */
  readonly ttlSeconds: number;
}

/** The `--renew-intent-*` flags (docs/contract.md §4). */
export interface RenewConfig {
  readonly enabled: boolean;
  /** Contains a password: never logged. Ignored if `redisDsnFile` is set. */
  readonly redisDsn: string;
  /** `--renew-intent-redis-dsn-file`: a file with the DSN, read at the start. Undefined: `redisDsn` is used. */
  readonly redisDsnFile: string | undefined;
  /** `--renew-intent-redis-ca-file`. Undefined: the system's authorities. */
  readonly redisCaFile: string | undefined;
  readonly queueKey: string;
  /** 0 means no limit. */
  readonly queueMaxLength: number;
  /** Seconds on the command line, milliseconds here. */
  readonly minIntervalMs: number;
}
