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
  /** Wall-clock milliseconds when the current pair began to be valid; undefined before `start`. */
  readonly validFromMs: number | undefined;
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
/**
 * Time until files are read again that could not be used, in milliseconds, though they have not changed: what was
 * missing may be there by then (a free descriptor), or a certificate has begun.
 */
const RETRY_MS = 60 * 1_000;
/** Time between two looks at the end of the pair, in milliseconds. */
const EXPIRY_LOOK_MS = 60 * 60 * 1_000;
/** Time between two warnings of the end, in milliseconds. */
const EXPIRY_WARNING_MS = 24 * 60 * 60 * 1_000;
/** From so long before the end there are warnings, in milliseconds: issuers renew earlier (cert-manager: a third). */
const EXPIRY_NEAR_MS = 14 * 24 * 60 * 60 * 1_000;
/** The same for certificates that live shortly, as a part of their life. */
const EXPIRY_NEAR_SHARE = 0.25;

/**
 * Creates the source. Files that cannot be read or used, or do not fit together, change nothing: the earlier pair
 * stays, the log says why, and they are read again each minute. The same holds for a pair that has expired or has not
 * begun, while the earlier one is valid. At the start such a pair is used, with an error in the log, because traffic
 * without TLS would otherwise end with it.
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
  #retry: Timer | undefined;
  #warnedAt: number | undefined;

  constructor(options: KeyPairFilesOptions) {
    this.#options = options;
  }

  current(): KeyPair | undefined {
    return this.#pair;
  }

  stats(): KeyPairStats {
    const { validFromMs, validToMs } = this.#pair ?? {};
    return { validFromMs, validToMs, renewals: this.#renewals, failures: this.#failures };
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
    this.#retry?.cancel();
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
      if (earlier !== undefined) checkDates(pair, earlier, clock.now());
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
    const { logger, paths, clock } = this.#options;
    this.#retry?.cancel();
    this.#retry = fault === "" ? undefined : clock.setTimer(RETRY_MS, () => void this.#reload());
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
    const hasBegun = pair.validFromMs <= now;
    if (hasBegun && !isExpiryNear(pair, now)) return;
    if (this.#warnedAt !== undefined && now - this.#warnedAt < EXPIRY_WARNING_MS) return;
    this.#warnedAt = now;
    const fields = describe(pair);
    if (!hasBegun) {
      logger.error("the TLS certificate has not begun, clients refuse it: correct it or the clock", fields);
    } else if (pair.validToMs > now) {
      logger.warn("the TLS certificate expires soon: renew it", fields);
    } else {
      logger.error("the TLS certificate has expired, clients refuse it: renew it", fields);
    }
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

/** Throws if a pair is of no use at `nowMs`, unless the earlier one is not either. Wall-clock milliseconds. */
function checkDates(pair: KeyPair, earlier: KeyPair, nowMs: number): void {
  const isValid = ({ validFromMs, validToMs }: KeyPair): boolean => validFromMs <= nowMs && nowMs < validToMs;
  if (isValid(pair) || !isValid(earlier)) return;
  const { validFromMs, validToMs } = pair;
  throw new Error(
    validToMs <= nowMs
      ? `the certificate expired at ${formatTime(validToMs)}`
      : `the certificate begins at ${formatTime(validFromMs)}`,
  );
}

function isSame(a: KeyPair, b: KeyPair): boolean {
  return a.cert === b.cert && a.key === b.key && a.clientCa === b.clientCa;
}

function describe({ names, fingerprint, validFromMs, validToMs }: KeyPair): LogFields {
  return { names, fingerprint, validFrom: formatTime(validFromMs), validTo: formatTime(validToMs) };
}

function formatTime(ms: number): string {
  return new Date(ms).toISOString();
}
