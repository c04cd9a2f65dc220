import { createHash } from "node:crypto";
import type { Clock } from "../clock.ts";
import type { LogFields, Logger } from "../log/logger.ts";
import { readSmallFile } from "../files/small-file.ts";
import { type PathWatch, watchPath } from "../files/watch-path.ts";

/**
 * Largest file, in bytes: 36 keys of the longest secret in base64 are 50,000. A larger one is another file, given by
 * mistake.
 */
export const SECRET_FILE_MAX_BYTES = 64 * 1024;

export interface SecretFileOptions<T> {
  readonly path: string;
  /** Throws an Error that carries nothing of the secret. */
  readonly parse: (text: string) => T;
  /** What is said. None of it holds anything of the secret. */
  readonly texts: {
    /** The beginning of an error: `Cannot read access keys`. */
    readonly cannotRead: string;
    /** A line of the log: the file has become bad, and the value stays. */
    readonly notUsable: string;
    /** A line of the log: the file has changed. */
    readonly readAgain: string;
  };
  /** Called with each value that may be another than before, when it has begun to count. */
  readonly onValue?: (value: T) => void;
  /** What of a value the log may show. */
  readonly describe?: (value: T) => LogFields;
  readonly logger: Logger;
  readonly clock: Clock;
}

/**
 * A secret in a watched file. It is read again whenever the file changes, also when it is a mounted Secret that is
 * swapped. A file that cannot be read or used changes nothing: what was good a second ago should not fail for a slip.
 */
export class SecretFile<T> {
  readonly #options: SecretFileOptions<T>;
  #value: T | undefined;
  /** SHA-256 of what the value was read from, so that a watch that speaks without need is not news. */
  #digest = "";
  /** The fault that was logged last; empty while the file is good. */
  #fault = "";
  #watch: PathWatch | undefined;
  #isStopped = false;

  constructor(options: SecretFileOptions<T>) {
    this.#options = options;
  }

  /** The value of the moment; undefined before `start`. */
  current(): T | undefined {
    return this.#value;
  }

  /** Reads the file and begins to watch it. Rejects with an Error that says what is wrong, without any of the secret. */
  async start(): Promise<void> {
    await this.#read();
    if (this.#isStopped) return;
    const { path, logger, clock } = this.#options;
    this.#watch ??= watchPath(path, { onChange: () => this.#reload(), logger, clock });
  }

  /** Ends the watch; the value stays. Idempotent. */
  stop(): void {
    this.#isStopped = true;
    this.#watch?.stop();
  }

  async #reload(): Promise<void> {
    const { path, logger, texts } = this.#options;
    try {
      const isNew = await this.#read();
      if (isNew || this.#fault !== "") logger.info(texts.readAgain, { path, ...this.#describe() });
      this.#fault = "";
    } catch (error) {
      const fault = error instanceof Error ? error.message : String(error);
      if (fault === this.#fault) return;
      this.#fault = fault;
      logger.error(texts.notUsable, { path, error: fault });
    }
  }

  #describe(): LogFields {
    return this.#value === undefined ? {} : (this.#options.describe?.(this.#value) ?? {});
  }

  /** Takes the value over; whether it may be another than before. Throws, and changes nothing, where the file has none that can be used. */
  async #read(): Promise<boolean> {
    const { path, parse, texts, onValue } = this.#options;
    const text = await readText(path, texts.cannotRead);
    const value = parse(text);
    const digest = createHash("sha256").update(text).digest("hex");
    if (digest === this.#digest) return false;
    this.#value = value;
    this.#digest = digest;
    onValue?.(value);
    return true;
  }
}

async function readText(path: string, cannotRead: string): Promise<string> {
  try {
    return await readSmallFile(path, SECRET_FILE_MAX_BYTES);
  } catch (error) {
    // What the system says names the path, but not what it is for.
    const reason = error instanceof Error ? error.message : String(error);
    throw new Error(`${cannotRead}: ${reason}`, { cause: error });
  }
}
