import { createHash } from "node:crypto";
import { type AccessKeys, parseAccessKeys, parseAccessKeysFile, SECRET_SAFE_MIN_BYTES } from "./keys.ts";
import type { Clock } from "../clock.ts";
import type { Logger } from "../log/logger.ts";
import { type PathWatch, watchPath } from "../files/watch-path.ts";
import { messageOf } from "../values.ts";

/** Largest key file, in bytes: 36 keys of the longest secret take 50,000 in base64. A larger file is not a key file. */
export const ACCESS_KEYS_FILE_MAX_BYTES = 64 * 1024;

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

/**
 * Creates the source. A file is read again at each change, and also when a mounted Secret is replaced, so keys rotate
 * without a restart. If the file cannot be read or is invalid, the keys stay and one log line says why: a mistake in
 * the file must not break signed routes that worked a second ago.
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
      warnAboutWeakKeys(keys, logger);
    },
    stop() {},
  };
}

class FileAccessKeysSource implements AccessKeysSource {
  readonly #path: string;
  readonly #logger: Logger;
  readonly #clock: Clock;
  #keys: AccessKeys | undefined;
  /** SHA-256 of the content that the keys came from, so that a notice without a change has no effect. */
  #digest = "";
  /** The last logged fault. Empty while the file is valid. */
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
      if (isNew || this.#fault !== "") this.#logLoaded();
      this.#fault = "";
    } catch (error) {
      const fault = messageOf(error);
      if (fault === this.#fault) return;
      this.#fault = fault;
      this.#logger.error("cannot use the secure access keys file, keeping the earlier keys", {
        path: this.#path,
        error: fault,
      });
    }
  }

  #logLoaded(): void {
    this.#logger.info("secure access keys read again", { path: this.#path, keyIds: this.#keys?.ids.join(",") });
  }

  /**
   * Takes over new keys. Returns whether the content changed. Throws, and changes nothing, if the content is invalid.
   */
  async #read(): Promise<boolean> {
    const text = await readText(this.#path);
    const keys = parseAccessKeysFile(text);
    const digest = createHash("sha256").update(text).digest("hex");
    if (digest === this.#digest) return false;
    this.#keys = keys;
    this.#digest = digest;
    warnAboutWeakKeys(keys, this.#logger);
    return true;
  }
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

async function readText(path: string): Promise<string> {
  try {
    return await readSmallFile(path);
  } catch (error) {
    // The system's message names the path, but not its purpose.
    const reason = messageOf(error);
    throw new Error(`Cannot read access keys: ${reason}`, { cause: error });
  }
}

async function readSmallFile(path: string): Promise<string> {
  const file = Bun.file(path);
  const info = await file.stat();
  if (!info.isFile()) throw new Error(`${path} is not a file`);
  // One byte more than the limit shows that the file is too large, whatever its size.
  const bytes = await file.slice(0, ACCESS_KEYS_FILE_MAX_BYTES + 1).bytes();
  if (bytes.length > ACCESS_KEYS_FILE_MAX_BYTES) {
    throw new Error(`${path} is larger than ${ACCESS_KEYS_FILE_MAX_BYTES} bytes`);
  }
  return new TextDecoder().decode(bytes);
}
