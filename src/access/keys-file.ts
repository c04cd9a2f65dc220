import { createHash } from "node:crypto";
import { type AccessKeys, parseAccessKeys, parseAccessKeysFile, SECRET_SAFE_MIN_BYTES } from "./keys.ts";
import type { Clock } from "../clock.ts";
import type { Logger } from "../log/logger.ts";
import { type PathWatch, watchPath } from "../files/watch-path.ts";

/**
 * Largest key file, in bytes: 36 keys of the longest secret in base64 are 50,000. A larger one is another file, given
 * by mistake.
 */
export const ACCESS_KEYS_FILE_MAX_BYTES = 64 * 1024;

/** Where the keys that sign routes come from: a flag, a watched file, or nowhere. */
export interface AccessKeysSource {
  /** The keys of the moment; undefined where none are configured, or before `start`. */
  current(): AccessKeys | undefined;
  /**
   * Reads the keys, and begins to watch the file. Rejects with an Error that says what is wrong, without any part of
   * a secret: the program must not start without the keys that it was given.
   */
  start(): Promise<void>;
  /** Ends the watch; the keys stay. Idempotent. */
  stop(): void;
}

export interface AccessKeysSourceOptions {
  /** `--secure-access-keys`; undefined: not given. At most one of `inline` and `file` is. */
  readonly inline: string | undefined;
  /** `--secure-access-keys-file`; undefined: not given. */
  readonly file: string | undefined;
  readonly logger: Logger;
  readonly clock: Clock;
}

/**
 * Creates the source. A file is read again whenever it changes, also when it is a mounted Secret that is swapped, so
 * that keys rotate without a restart. One that cannot be read, or holds anything but keys, changes nothing: the keys
 * stay as they were and one line says why, since signed routes that were good a second ago should not fail for a slip.
 */
export function createAccessKeysSource(options: AccessKeysSourceOptions): AccessKeysSource {
  const { inline, file, logger } = options;
  if (file !== undefined) return new FileAccessKeysSource(file, options);
  let keys: AccessKeys | undefined;
  return {
    current: () => keys,
    start: async () => {
      if (inline === undefined) return;
      keys = parseAccessKeys(inline);
      warnOfWeakKeys(keys, logger);
    },
    stop() {},
  };
}

class FileAccessKeysSource implements AccessKeysSource {
  readonly #path: string;
  readonly #logger: Logger;
  readonly #clock: Clock;
  #keys: AccessKeys | undefined;
  /** SHA-256 of what the keys were read from, so that a watch that speaks without need is not news. */
  #digest = "";
  /** The fault that was logged last; empty while the file is good. */
  #fault = "";
  #watch: PathWatch | undefined;
  #isStopped = false;

  constructor(path: string, parts: { readonly logger: Logger; readonly clock: Clock }) {
    this.#path = path;
    this.#logger = parts.logger;
    this.#clock = parts.clock;
  }

  current(): AccessKeys | undefined {
    return this.#keys;
  }

  async start(): Promise<void> {
    await this.#read();
    if (this.#isStopped) return;
    this.#watch ??= watchPath(this.#path, {
      onChange: () => this.#reload(),
      logger: this.#logger,
      clock: this.#clock,
    });
  }

  stop(): void {
    this.#isStopped = true;
    this.#watch?.stop();
  }

  async #reload(): Promise<void> {
    try {
      const isNew = await this.#read();
      if (isNew || this.#fault !== "") this.#sayLoaded();
      this.#fault = "";
    } catch (error) {
      const fault = error instanceof Error ? error.message : String(error);
      if (fault === this.#fault) return;
      this.#fault = fault;
      this.#logger.error("the secure access keys file is not usable, the keys stay as they were", {
        path: this.#path,
        error: fault,
      });
    }
  }

  #sayLoaded(): void {
    this.#logger.info("secure access keys read again", { path: this.#path, keyIds: this.#keys?.ids.join(",") });
  }

  /** Takes the keys over; whether they may be others than before. Throws, and changes nothing, where there are none. */
  async #read(): Promise<boolean> {
    const text = await readText(this.#path);
    const keys = parseAccessKeysFile(text);
    const digest = createHash("sha256").update(text).digest("hex");
    if (digest === this.#digest) return false;
    this.#keys = keys;
    this.#digest = digest;
    warnOfWeakKeys(keys, this.#logger);
    return true;
  }
}

function warnOfWeakKeys(keys: AccessKeys, logger: Logger): void {
  if (keys.weakIds.length === 0) return;
  logger.warn(`secure access keys shorter than ${SECRET_SAFE_MIN_BYTES} bytes can be found from signed links`, {
    keyIds: keys.weakIds.join(","),
  });
}

async function readText(path: string): Promise<string> {
  try {
    return await readSmallFile(path);
  } catch (error) {
    // What the system says names the path, but not what it is for.
    const reason = error instanceof Error ? error.message : String(error);
    throw new Error(`Cannot read access keys: ${reason}`, { cause: error });
  }
}

async function readSmallFile(path: string): Promise<string> {
  const file = Bun.file(path);
  const info = await file.stat();
  if (!info.isFile()) throw new Error(`${path} is not a file`);
  // One byte more than the limit is enough to see that it is broken, however large the file has become.
  const bytes = await file.slice(0, ACCESS_KEYS_FILE_MAX_BYTES + 1).bytes();
  if (bytes.length > ACCESS_KEYS_FILE_MAX_BYTES) {
    throw new Error(`${path} is larger than ${ACCESS_KEYS_FILE_MAX_BYTES} bytes`);
  }
  return new TextDecoder().decode(bytes);
}
