import type { Clock } from "../clock.ts";
import type { Logger } from "../log/logger.ts";
import { BACKOFF_MAX_MS, createBackoff } from "./backoff.ts";
import { explainFault, type KubeError } from "./errors.ts";
import { createFaultLog } from "./fault-log.ts";
import { type ListSource, ListSources, type NextSource } from "./list-source.ts";
import { positionAfter } from "./position-loss.ts";
import type { ReflectorLimits } from "./reflector-limits.ts";
import { describeResource, type KubeResource } from "./resource.ts";

/** What a reflector does: find the version, list, watch. */
export type ReflectorStep = "discover" | "list" | "watch";

export interface RecoveryOptions {
  readonly logger: Logger;
  readonly clock: Clock;
  /** In [0, 1), for jitter. */
  readonly random: () => number;
  readonly limits: ReflectorLimits;
}

/** A failed step. */
export interface StepFailure {
  readonly step: ReflectorStep;
  readonly error: KubeError;
  readonly resource: KubeResource;
  /** Whether the store has had a resource version. */
  readonly hasPosition: boolean;
  /** Whether the server began to answer, or took too long to begin. */
  readonly wasReached: boolean;
}

/** Decides what a reflector does after a failure: which list, after which pause, and what the log says. */
export class Recovery {
  readonly #logger: Logger;
  readonly #random: () => number;
  readonly #limits: ReflectorLimits;
  readonly #sources: ListSources;
  readonly #backoff;
  readonly #faults;
  #fault: string | undefined;
  /** Whether the last watch delivered a change or lived long enough. */
  #isWorking = false;
  /** Silent watches since the last change. */
  #silences = 0;
  /** Refused watches since one worked. */
  #refusedWatches = 0;
  /** Lists since a watch worked. */
  #relists = 0;

  constructor(options: RecoveryOptions) {
    this.#logger = options.logger;
    this.#random = options.random;
    this.#limits = options.limits;
    this.#sources = new ListSources(options.clock, options.limits.streamRetryMs);
    this.#backoff = createBackoff(options.random);
    this.#faults = createFaultLog(options.logger, options.clock);
  }

  /** The list to make now; undefined if no list is due. */
  get dueList(): ListSource | undefined {
    return this.#sources.due;
  }

  /** What is wrong, in one line; undefined if nothing is. */
  get fault(): string | undefined {
    return this.#fault;
  }

  /** Whether the last watch ended in silence. */
  get isAfterSilence(): boolean {
    return this.#silences > 0;
  }

  /** Call it when the store has been filled. */
  recordList(): void {
    this.#sources.end();
    this.#relists += 1;
  }

  /** Call it when a watch has delivered a change. */
  recordChange(): void {
    this.#silences = 0;
  }

  /** Call it when a watch works: earlier failures are over. */
  recordWorkingWatch(resource: KubeResource): void {
    this.#isWorking = true;
    this.#backoff.reset();
    this.#refusedWatches = 0;
    this.#relists = 0;
    this.#fault = undefined;
    this.#faults.clear(`Kubernetes: watching ${describeResource(resource)} works again`);
  }

  /** Decides the next step. Returns the milliseconds to wait before it. */
  afterFailure(failure: StepFailure): number {
    const { step, error, resource } = failure;
    // The answer may come from another server next time: an aggregated one, or an upgraded one.
    if (error.kind === "missing") this.#sources.forget();
    if (step === "list" && this.#changeSource(failure).isImmediate) return 0;
    const wasWorking = this.#isWorking;
    this.#isWorking = false;
    const relist = step === "watch" && this.#isPositionLost(error);
    if (relist) this.#sources.begin(failure.hasPosition);
    // A list repairs history that was compacted while the connection was away. That is not a fault.
    if (relist && error.kind === "expired" && this.#relists === 0) {
      this.#warn("listing", failure);
      return this.#limits.relistSpreadMs * this.#random();
    }
    if (step === "watch" && error.kind === "silent") return this.#afterSilence(failure);
    // Load balancers cut connections now and then. One cut is not an error.
    if (step === "watch" && error.kind === "unreachable" && wasWorking) {
      this.#warn("watching", failure);
      return this.#backoff.next();
    }
    this.#fault = explainFault(error, step, resource);
    this.#faults.report(`${step} ${error.kind}`, this.#fault);
    // A server that starts asks for 5 s even if it is ready earlier. Only a rate limit may ask for more than 2 s.
    const retryAfterMaxMs = error.kind === "throttled" ? Number.POSITIVE_INFINITY : BACKOFF_MAX_MS;
    const pauseMs = this.#backoff.next(Math.min(error.retryAfterMs ?? 0, retryAfterMaxMs));
    return relist && this.#relists >= this.#limits.relistsInARow
      ? Math.max(pauseMs, this.#limits.relistPauseMs)
      : pauseMs;
  }

  #changeSource({ error, resource, wasReached, hasPosition }: StepFailure): NextSource {
    const source = this.#sources.due;
    const next = this.#sources.fail({ error, wasReached }, hasPosition);
    if (next.isImmediate) {
      const how = `${describeResource(resource)} by ${next.source} instead of ${source}`;
      this.#logger.info(`Kubernetes: listing ${how}: ${error.message}`);
    }
    return next;
  }

  /** Silence is not a fault if the server sends no bookmarks. It is logged once, and the next watch starts at once. */
  #afterSilence(failure: StepFailure): number {
    this.#silences += 1;
    if (this.#silences % this.#limits.silencesBeforeRelist === 0) this.#sources.begin(true);
    if (this.#silences === 1) this.#warn("watching", failure);
    return 0;
  }

  #warn(doing: string, { error, resource }: StepFailure): void {
    this.#logger.warn(`Kubernetes: ${doing} ${describeResource(resource)} again: ${error.message}`);
  }

  /** Whether a watch from the current position can no longer deliver what the store has missed. */
  #isPositionLost({ kind }: KubeError): boolean {
    const position = positionAfter(kind);
    if (position !== "doubtful") return position === "lost";
    this.#refusedWatches += 1;
    return this.#refusedWatches % this.#limits.refusalsBeforeRelist === 0;
  }
}
