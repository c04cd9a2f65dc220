import { type AccessKeys, parseAccessKeys, parseAccessKeysFile, SECRET_SAFE_MIN_BYTES } from "./keys.ts";
import type { Clock } from "../clock.ts";
import type { Logger } from "../log/logger.ts";
import { SecretFile } from "./secret-file.ts";

/** Where the keys that sign routes come from: a flag, a watched file, or nowhere. */
export interface AccessKeysSource {
  /** The current keys; undefined if none are configured, or before `start`. */
  current(): AccessKeys | undefined;
  /**
   * Reads the keys and starts to watch the file. Rejects with an Error that says what is wrong, without any part of a
   * secret: the program must not start without its keys.
   */
  start(): Promise<void>;
  /** Stops the watch. The keys stay. Idempotent. */
  stop(): void;
}

export interface AccessKeysSourceOptions {
  /** `--secure-access-keys`; undefined if missing. At most one of `inline` and `file` is set. */
  readonly inline: string | undefined;
  /** `--secure-access-keys-file`; undefined if missing. */
  readonly file: string | undefined;
  readonly logger: Logger;
  readonly clock: Clock;
}

/** Creates the source. A file is watched, so that keys rotate without a restart; see `SecretFile` for one that is bad. */
export function createAccessKeysSource(options: AccessKeysSourceOptions): AccessKeysSource {
  const { inline, file, logger, clock } = options;
  if (file !== undefined) {
    return new SecretFile<AccessKeys>({
      path: file,
      parse: parseAccessKeysFile,
      texts: {
        cannotRead: "Cannot read access keys",
        notUsable: "cannot use the secure access keys file, keeping the earlier keys",
        readAgain: "secure access keys read again",
      },
      onValue: (keys) => warnAboutWeakKeys(keys, logger),
      describe: (keys) => ({ keyIds: keys.ids.join(",") }),
      logger,
      clock,
    });
  }
  let keys: AccessKeys | undefined;
  return {
    current: () => keys,
    start: async () => {
      if (inline === undefined) return;
      keys = parseAccessKeys(inline);
      warnAboutWeakKeys(keys, logger);
    },
    stop() {},
  };
}

function warnAboutWeakKeys(keys: AccessKeys, logger: Logger): void {
  if (keys.weakIds.length === 0) return;
  logger.warn(
    `secure access keys shorter than ${SECRET_SAFE_MIN_BYTES} bytes can be guessed from signed links: use longer ones`,
    {
      keyIds: keys.weakIds.join(","),
    },
  );
}
