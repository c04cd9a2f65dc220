import type { Clock, Timer } from "../clock.ts";
import type { Logger } from "../log/logger.ts";
import { descriptorFiles, type DescriptorFiles } from "./descriptor-files.ts";

/**
 * How often descriptors are counted, in milliseconds: what a flood of connections takes until somebody looks is what the
 * process has left.
 */
export const DESCRIPTOR_LOOK_MS = 100;

/** Part of the time that counting may take: where it is slow, it is done less often. */
const LOOK_TIME_SHARE = 1 / 50;

/** Descriptors that are to stay free: a tenth of the limit within these bounds, and at most a half. */
const MARGIN_SHARE = 1 / 10;
const MARGIN_MIN = 64;
const MARGIN_MAX = 4_096;

/**
 * Descriptors that are held in reserve at most, for nobody: let go when they are exhausted, once no client can take them, so
 * that probes, the watch and requests in flight have some. The Kubernetes client takes one for each namespace, a scrape and
 * a probe one each.
 */
const RESERVE_MAX = 64;

/** Least time between two log lines about the same, in milliseconds: who can cause shortage must not fill the log. */
const LOG_INTERVAL_MS = 60_000;

/**
 * `none`: enough are free. `short`: less than the margin is; idle connections are to be closed. `exhausted`: less than half of it
 * is; no new connection may be accepted.
 */
export type DescriptorPressure = "none" | "short" | "exhausted";

/** What is told of descriptors. */
export interface DescriptorStats {
  /** Open now, the reserve among them. */
  readonly open: number;
  readonly limit: number;
  /** How often they became short, and how often exhausted. */
  readonly shortages: number;
  readonly exhaustions: number;
}

/** Watches over the process's file descriptors. Where the system does not tell, the pressure is always `none`. */
export interface Descriptors {
  pressure(): DescriptorPressure;
  /** Undefined: the system does not tell. */
  stats(): DescriptorStats | undefined;
  /** Registers the one who acts on it; called after each look, with the reserve still held. What it throws is logged. */
  onLook(act: (pressure: DescriptorPressure) => void): void;
  /** Takes the reserve and begins to look. */
  start(): void;
  stop(): void;
}

export function createDescriptors(options: {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly files?: DescriptorFiles;
}): Descriptors {
  return new DescriptorWatch(options.clock, options.logger, options.files ?? descriptorFiles);
}

/** How many of `limit` are to stay free. */
function marginOf(limit: number): number {
  return Math.floor(Math.min(limit / 2, MARGIN_MAX, Math.max(MARGIN_MIN, limit * MARGIN_SHARE)));
}

class DescriptorWatch implements Descriptors {
  readonly #clock: Clock;
  readonly #files: DescriptorFiles;
  readonly #log: ShortageLog;
  #pressure: DescriptorPressure = "none";
  #limit: number | undefined;
  #shortages = 0;
  #exhaustions = 0;
  #act: (pressure: DescriptorPressure) => void = () => {};
  #timer: Timer | undefined;
  /** Lets the reserve go; undefined: it has been. */
  #letGo: (() => void) | undefined;

  constructor(clock: Clock, logger: Logger, files: DescriptorFiles) {
    this.#clock = clock;
    this.#files = files;
    this.#log = new ShortageLog(clock, logger);
  }

  pressure(): DescriptorPressure {
    return this.#pressure;
  }

  stats(): DescriptorStats | undefined {
    const open = this.#files.count();
    const limit = this.#limit;
    if (open === undefined || limit === undefined) return undefined;
    return { open, limit, shortages: this.#shortages, exhaustions: this.#exhaustions };
  }

  onLook(act: (pressure: DescriptorPressure) => void): void {
    this.#act = act;
  }

  start(): void {
    this.#limit = this.#files.readLimit();
    if (this.#timer !== undefined || this.#limit === undefined) return;
    this.#letGo = this.#files.hold(this.#reserve(this.#limit));
    this.#look(this.#limit);
  }

  stop(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#letGo?.();
    this.#letGo = undefined;
  }

  #look(limit: number): void {
    const startedAt = this.#clock.monotonic();
    const open = this.#files.count();
    const tookMs = this.#clock.monotonic() - startedAt;
    if (open !== undefined) this.#judge(open, limit);
    const waitMs = Math.max(DESCRIPTOR_LOOK_MS, tookMs / LOOK_TIME_SHARE);
    this.#timer = this.#clock.setTimer(waitMs, () => this.#look(limit));
  }

  #judge(open: number, limit: number): void {
    // As if the reserve were held, or letting it go would look like an end of the shortage.
    const missing = this.#letGo === undefined ? this.#reserve(limit) : 0;
    const before = this.#pressure;
    const pressure = this.#next(limit - open - missing, marginOf(limit));
    this.#pressure = pressure;
    if (before === "none" && pressure !== "none") this.#shortages++;
    if (before !== "exhausted" && pressure === "exhausted") this.#exhaustions++;
    if (before === "exhausted" && pressure !== "exhausted") this.#letGo ??= this.#files.hold(missing);
    try {
      this.#act(pressure);
    } catch (error) {
      this.#log.fault(error);
    }
    if (pressure === "exhausted") {
      this.#letGo?.();
      this.#letGo = undefined;
    }
    if (pressure !== before) this.#log.tell(pressure, { open, limit });
  }

  /** Pressure ends later than it begins, or it would come and go with each connection. */
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
  short: "file descriptors are short: idle client connections are closed",
  exhausted: "file descriptors are exhausted: new client connections are refused",
  none: "file descriptors are free again",
};

/** Says when the pressure changes, each thing at most once in `LOG_INTERVAL_MS`, and its end only if its begin was said. */
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
      cause: error instanceof Error ? error.message : String(error),
    });
  }

  #isDue(what: DescriptorPressure | "fault"): boolean {
    const now = this.#clock.monotonic();
    if (now - (this.#saidAt.get(what) ?? Number.NEGATIVE_INFINITY) < LOG_INTERVAL_MS) return false;
    this.#saidAt.set(what, now);
    return true;
  }
}
