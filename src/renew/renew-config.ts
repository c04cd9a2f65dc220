/** The `--renew-intent-*` flags (docs/contract.md §4). */
export interface RenewConfig {
  readonly enabled: boolean;
  /** Carries a password: never logged. Without meaning where `redisDsnFile` is given. */
  readonly redisDsn: string;
  /** `--renew-intent-redis-dsn-file`: a file with the DSN, read at the start; undefined: `redisDsn` counts. */
  readonly redisDsnFile: string | undefined;
  /** `--renew-intent-redis-ca-file`; undefined: the system's authorities. */
  readonly redisCaFile: string | undefined;
  readonly queueKey: string;
  /** 0 means no cap. */
  readonly queueMaxLength: number;
  /** Seconds on the command line, milliseconds here. */
  readonly minIntervalMs: number;
}
