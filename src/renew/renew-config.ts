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
