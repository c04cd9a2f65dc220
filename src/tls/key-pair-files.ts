import { type Clock, sleep, type Timer } from "../clock.ts";
import { readSmallFile } from "../files/small-file.ts";
import { type PathWatch, watchPath } from "../files/watch-path.ts";
import type { LogFields, Logger } from "../log/logger.ts";
import { messageOf } from "../values.ts";
import { type KeyPair, parseKeyPair } from "./key-pair.ts";

/** Where a pair is. */
export interface KeyPairPaths {
  /** `--tls-cert-file`. */
  readonly certFile: string;
  /** `--tls-key-file`. */
  readonly keyFile: string;
  /** `--tls-client-ca-file`; undefined: clients need no certificate. */
  readonly clientCaFile: string | undefined;
}

/** A pair in watched files. */
export interface KeyPairFiles {
  /** Undefined before `start`. */
  current(): KeyPair | undefined;
  stats(): KeyPairStats;
  /** Reads the pair and begins to watch. Rejects with an Error that says what is wrong, without anything of the key. */
  start(): Promise<KeyPair>;
  /** Ends the watch; the pair stays. Idempotent. */
  stop(): void;
}

export interface KeyPairStats {
  /** Wall-clock milliseconds when the current pair ends to be valid; undefined before `start`. */
  readonly validToMs: number | undefined;
  /** Pairs that replaced an earlier one. */
  readonly renewals: number;
  /** Changes of the files that could not be used. */
  readonly failures: number;
}

export interface KeyPairFilesOptions {
  readonly paths: KeyPairPaths;
  /** Called with each new pair. What it throws says that the pair cannot be used: the earlier one stays. */
  readonly onPair: (pair: KeyPair) => void;
  readonly logger: Logger;
  readonly clock: Clock;
}

/** Largest file, in bytes: a chain of four certificates has 10 KB, the list of all public authorities 220 KB. */
const FILE_MAX_BYTES = 512 * 1024;
/**
 * The files of a pair change one after the other. A pair that does not fit is read again after this time, in
 * milliseconds, before it is called broken.
 */
const SECOND_LOOK_MS = 2_000;
/** Time between two looks at the end of the pair, in milliseconds. */
const EXPIRY_LOOK_MS = 60 * 60 * 1_000;
/** Time between two warnings of the end, in milliseconds. */
const EXPIRY_WARNING_MS = 24 * 60 * 60 * 1_000;
/** From so long before the end there are warnings, in milliseconds: issuers renew earlier (cert-manager: a third). */
const EXPIRY_NEAR_MS = 14 * 24 * 60 * 60 * 1_000;
/** The same for certificates that live shortly, as a part of their life. */
const EXPIRY_NEAR_SHARE = 0.25;

/**
 * Creates the source. Files that cannot be read or used, do not fit together, or have expired change nothing: the
 * earlier pair stays, and the log says why. At the start an expired pair is used, with an error in the log, because
 * traffic without TLS would otherwise end with it.
 */
export function createKeyPairFiles(options: KeyPairFilesOptions): KeyPairFiles {
  return new WatchedKeyPair(options);
}

class WatchedKeyPair implements KeyPairFiles {
  readonly #options: KeyPairFilesOptions;
  readonly #stopped = new AbortController();
  #pair: KeyPair | undefined;
  #renewals = 0;
  #failures = 0;
  /** The fault that was logged last; empty while the files are good. */
  #fault = "";
  #watches: readonly PathWatch[] = [];
  #reading: Promise<void> | undefined;
  /** Whether files have changed since the reading in progress began. */
  #isStale = false;
  #timer: Timer | undefined;
  #warnedAt: number | undefined;

  constructor(options: KeyPairFilesOptions) {
    this.#options = options;
  }

  current(): KeyPair | undefined {
    return this.#pair;
  }

  stats(): KeyPairStats {
    return { validToMs: this.#pair?.validToMs, renewals: this.#renewals, failures: this.#failures };
  }

  async start(): Promise<KeyPair> {
    const { paths, logger, clock } = this.#options;
    const pair = await this.#read();
    this.#pair = pair;
    logger.info("TLS certificate", describe(pair));
    if (this.#stopped.signal.aborted) return pair;
    const files = [paths.certFile, paths.keyFile, ...(paths.clientCaFile === undefined ? [] : [paths.clientCaFile])];
    this.#watches = files.map((path) => watchPath(path, { onChange: () => this.#reload(), logger, clock }));
    this.#watchExpiry();
    return pair;
  }

  stop(): void {
    this.#stopped.abort();
    this.#timer?.cancel();
    for (const watch of this.#watches) watch.stop();
  }

  async #reload(): Promise<void> {
    this.#isStale = true;
    this.#reading ??= this.#reloadWhileStale().finally(() => (this.#reading = undefined));
    await this.#reading;
  }

  async #reloadWhileStale(): Promise<void> {
    while (this.#isStale && !this.#stopped.signal.aborted) {
      this.#isStale = false;
      let fault = await this.#tryTake();
      if (fault !== "") {
        await sleep(this.#options.clock, SECOND_LOOK_MS, this.#stopped.signal);
        if (this.#stopped.signal.aborted) return;
        fault = await this.#tryTake();
      }
      this.#report(fault);
    }
  }

  /** The reason why the files cannot be used; empty: they are in use. */
  async #tryTake(): Promise<string> {
    const { clock, onPair, logger } = this.#options;
    try {
      const pair = await this.#read();
      const earlier = this.#pair;
      if (earlier !== undefined && isSame(pair, earlier)) return "";
      if (pair.validToMs <= clock.now()) throw new Error(`the certificate expired at ${formatTime(pair.validToMs)}`);
      onPair(pair);
      this.#pair = pair;
      this.#renewals += 1;
      this.#warnedAt = undefined;
      logger.info("TLS certificate read again, new connections get it", describe(pair));
      this.#warnBeforeExpiry();
      return "";
    } catch (thrown) {
      return messageOf(thrown);
    }
  }

  #report(fault: string): void {
    const { logger, paths } = this.#options;
    if (fault === this.#fault) return;
    if (fault === "") logger.info("the TLS files can be used again");
    this.#fault = fault;
    if (fault === "") return;
    this.#failures += 1;
    const fields = { certFile: paths.certFile, keyFile: paths.keyFile, error: fault };
    logger.error("cannot use the TLS files, keeping the earlier certificate", fields);
  }

  async #read(): Promise<KeyPair> {
    const { certFile, keyFile, clientCaFile } = this.#options.paths;
    const [cert, key, clientCa] = await Promise.all([
      readText(certFile, "the TLS certificate"),
      readText(keyFile, "the TLS key"),
      clientCaFile === undefined ? undefined : readText(clientCaFile, "the TLS client authorities"),
    ]);
    return parseKeyPair({ cert, key, clientCa });
  }

  #watchExpiry(): void {
    this.#warnBeforeExpiry();
    this.#timer = this.#options.clock.setTimer(EXPIRY_LOOK_MS, () => this.#watchExpiry());
  }

  #warnBeforeExpiry(): void {
    const { clock, logger } = this.#options;
    const pair = this.#pair;
    if (pair === undefined) return;
    const now = clock.now();
    if (!isExpiryNear(pair, now) || (this.#warnedAt !== undefined && now - this.#warnedAt < EXPIRY_WARNING_MS)) return;
    this.#warnedAt = now;
    if (pair.validToMs > now) logger.warn("the TLS certificate expires soon: renew it", describe(pair));
    else logger.error("the TLS certificate has expired, clients refuse it: renew it", describe(pair));
  }
}

async function readText(path: string, what: string): Promise<string> {
  try {
    return await readSmallFile(path, FILE_MAX_BYTES);
  } catch (error) {
    throw new Error(`Cannot read ${what}: ${messageOf(error)}`, { cause: error });
  }
}

/** Whether a pair that is valid at `nowMs` should have been renewed. Wall-clock milliseconds. */
export function isExpiryNear({ validFromMs, validToMs }: KeyPair, nowMs: number): boolean {
  return validToMs - nowMs <= Math.min(EXPIRY_NEAR_MS, (validToMs - validFromMs) * EXPIRY_NEAR_SHARE);
}

function isSame(a: KeyPair, b: KeyPair): boolean {
  return a.cert === b.cert && a.key === b.key && a.clientCa === b.clientCa;
}

function describe(pair: KeyPair): LogFields {
  return { names: pair.names, fingerprint: pair.fingerprint, validTo: formatTime(pair.validToMs) };
}

function formatTime(ms: number): string {
  return new Date(ms).toISOString();
}
