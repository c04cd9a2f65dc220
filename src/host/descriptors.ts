import type { Clock, Timer } from "../clock.ts";
import type { Logger } from "../log/logger.ts";
import { descriptorFiles, type DescriptorFiles } from "./descriptor-files.ts";
import { messageOf } from "../values.ts";

/**
 * How often descriptors are counted, in milliseconds. Between two counts, a flood of connections must not use up all
 * free descriptors.
 */
export const DESCRIPTOR_COUNT_MS = 100;

/** Share of the time that counting may take. Slow counting is done less often. */
const COUNT_TIME_SHARE = 1 / 50;

/** Descriptors that should stay free: a tenth of the limit within these bounds, and at most half of it. */
const MARGIN_SHARE = 1 / 10;
const MARGIN_MIN = 64;
const MARGIN_MAX = 4_096;

/**
 * Maximum number of descriptors held in reserve. They are released when descriptors are exhausted, after the listener
 * has stopped accepting, so that only probes, the watch and requests in flight can use them. The Kubernetes client
 * needs one for each namespace; a scrape and a probe need one each.
 */
const RESERVE_MAX = 64;

/**
 * Least time between two log lines about the same state, in milliseconds: a client that can cause shortage must not
 * fill the log.
 */
const LOG_INTERVAL_MS = 60_000;

/**
 * `none`: enough are free. `short`: fewer than the margin are free; close idle connections. `exhausted`: fewer than
 * half the margin are free; accept no new connection.
 */
export type DescriptorPressure = "none" | "short" | "exhausted";

/** Counts of descriptors. */
export interface DescriptorStats {
  /** Open now, including the reserve. */
  readonly open: number;
  readonly limit: number;
  /** How often descriptors became short, and how often exhausted. */
  readonly shortages: number;
  readonly exhaustions: number;
}

/** How many of `limit` should stay free. */
function marginOf(limit: number): number {
  return Math.floor(Math.min(limit / 2, MARGIN_MAX, Math.max(MARGIN_MIN, limit * MARGIN_SHARE)));
}

/** Observes the process's file descriptors. If the system does not tell, the pressure is always `none`. */
export class Descriptors {
  readonly #clock: Clock;
  readonly #files: DescriptorFiles;
  readonly #log: ShortageLog;
  #pressure: DescriptorPressure = "none";
  #limit: number | undefined;
  #shortages = 0;
  #exhaustions = 0;
  #act: (pressure: DescriptorPressure) => void = () => {};
  #timer: Timer | undefined;
  /** Releases the reserve; undefined if it is released. */
  #releaseReserve: (() => void) | undefined;

  /** @param options `files`: default, the process's own descriptors. */
  constructor(options: { readonly clock: Clock; readonly logger: Logger; readonly files?: DescriptorFiles }) {
    this.#clock = options.clock;
    this.#files = options.files ?? descriptorFiles;
    this.#log = new ShortageLog(options.clock, options.logger);
  }

  pressure(): DescriptorPressure {
    return this.#pressure;
  }

  /** Undefined if the system does not tell. */
  stats(): DescriptorStats | undefined {
    const open = this.#files.count();
    const limit = this.#limit;
    if (open === undefined || limit === undefined) return undefined;
    return { open, limit, shortages: this.#shortages, exhaustions: this.#exhaustions };
  }

  /**
   * Registers the function that acts on the pressure. It is called after each count, before the reserve is released.
   * Its exceptions are logged.
   */
  onCount(act: (pressure: DescriptorPressure) => void): void {
    this.#act = act;
  }

  /** Takes the reserve and starts counting. */
  start(): void {
    this.#limit = this.#files.readLimit();
    if (this.#timer !== undefined || this.#limit === undefined) return;
    this.#releaseReserve = this.#files.hold(this.#reserve(this.#limit));
    this.#count(this.#limit);
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#releaseReserve?.();
    this.#releaseReserve = undefined;
  }

  #count(limit: number): void {
    const startedAt = this.#clock.monotonic();
    const open = this.#files.count();
    const tookMs = this.#clock.monotonic() - startedAt;
    if (open !== undefined) this.#judge(open, limit);
    const waitMs = Math.max(DESCRIPTOR_COUNT_MS, tookMs / COUNT_TIME_SHARE);
    this.#timer = this.#clock.setTimer(waitMs, () => this.#count(limit));
  }

  #judge(open: number, limit: number): void {
    // Counts as if the reserve were held; otherwise its release would look like the end of the shortage.
    const missing = this.#releaseReserve === undefined ? this.#reserve(limit) : 0;
    const before = this.#pressure;
    const pressure = this.#next(limit - open - missing, marginOf(limit));
    this.#pressure = pressure;
    if (before === "none" && pressure !== "none") this.#shortages++;
    if (before !== "exhausted" && pressure === "exhausted") this.#exhaustions++;
    if (before === "exhausted" && pressure !== "exhausted") this.#releaseReserve ??= this.#files.hold(missing);
    try {
      this.#act(pressure);
    } catch (error) {
      this.#log.fault(error);
    }
    if (pressure === "exhausted") {
      this.#releaseReserve?.();
      this.#releaseReserve = undefined;
    }
    if (pressure !== before) this.#log.tell(pressure, { open, limit });
  }

  /** Pressure ends at a higher count than it begins, so that it does not change with each connection. */
  #next(free: number, margin: number): DescriptorPressure {
    if (free < margin / 2) return "exhausted";
    if (free < margin) return this.#pressure === "exhausted" ? "exhausted" : "short";
    return free < margin * 1.5 && this.#pressure !== "none" ? "short" : "none";
  }

  #reserve(limit: number): number {
    return Math.min(RESERVE_MAX, Math.floor(marginOf(limit) / 2));
  }
}

const MESSAGES: Readonly<Record<DescriptorPressure, string>> = {
  short: "file descriptors are short: closing idle client connections; raise the limit of open files or add replicas",
  exhausted:
    "file descriptors are exhausted: refusing new client connections; raise the limit of open files or add replicas",
  none: "file descriptors are free again",
};

/**
 * Logs changes of the pressure, each state at most once in `LOG_INTERVAL_MS`, and the end only if the beginning was
 * logged.
 */
class ShortageLog {
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #saidAt = new Map<DescriptorPressure | "fault", number>();
  #open = false;

  constructor(clock: Clock, logger: Logger) {
    this.#clock = clock;
    this.#logger = logger;
  }

  tell(pressure: DescriptorPressure, counts: { readonly open: number; readonly limit: number }): void {
    const { open, limit } = counts;
    if (pressure === "none") {
      if (this.#open) this.#logger.info(MESSAGES.none, { open, limit });
      this.#open = false;
      return;
    }
    if (!this.#isDue(pressure)) return;
    this.#open = true;
    this.#logger.warn(MESSAGES[pressure], { open, limit });
  }

  fault(error: unknown): void {
    if (!this.#isDue("fault")) return;
    this.#logger.error("cannot accept connections again", {
      cause: messageOf(error),
    });
  }

  #isDue(what: DescriptorPressure | "fault"): boolean {
    const now = this.#clock.monotonic();
    if (now - (this.#saidAt.get(what) ?? Number.NEGATIVE_INFINITY) < LOG_INTERVAL_MS) return false;
    this.#saidAt.set(what, now);
    return true;
  }
}
