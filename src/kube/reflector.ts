import { sleep, type Clock } from "../clock.ts";
import type { Logger } from "../log/logger.ts";
import { BACKOFF_MAX_MS, createBackoff } from "./backoff.ts";
import { createFaultLog } from "./fault-log.ts";
import type { KubeClient } from "./client.ts";
import { explainFault, KubeError, toKubeError } from "./errors.ts";
import { DEFAULT_REFLECTOR_LIMITS, type ReflectorLimits } from "./reflector-limits.ts";
import { ListSources, type ListSource, type NextSource } from "./list-source.ts";
import { listObjects, readCurrentVersion } from "./list.ts";
import { positionAfter } from "./position-loss.ts";
import type { ReflectorStore } from "./reflector-store.ts";
import { compareResourceVersions, describeResource, type KubeResource } from "./resource.ts";
import { beginFilling, type StoreFilling } from "./store-filling.ts";
import { createWatchTrial } from "./watch-trial.ts";
import { streamObjects, watchObjects, type WatchChange, type WatchOptions } from "./watch.ts";

export interface ReflectorStatus {
  /** Whether the first list has been applied and a watch has been accepted after it. Never goes back to false. */
  readonly synced: boolean;
  /** What is wrong, in one line; undefined: nothing. */
  readonly fault: string | undefined;
  /**
   * Monotonic milliseconds of the last moment at which the API server said what is current: an event, a bookmark, or the
   * request for a list that succeeded; undefined: never.
   */
  readonly confirmedAtMs: number | undefined;
}

export interface ReflectorOptions {
  readonly client: KubeClient;
  readonly resource: Omit<KubeResource, "version">;
  /** Finds out which version to use: called before the first list, and again after the server answered 404. */
  readonly findVersion: (signal: AbortSignal) => Promise<string>;
  readonly store: ReflectorStore;
  readonly logger: Logger;
  /** Called once, when `synced` becomes true. */
  readonly onSynced: () => void;
  readonly clock: Clock;
  /** In [0, 1), for jitter. */
  readonly random?: () => number;
  readonly limits?: Partial<ReflectorLimits>;
}

type Step = "discover" | "list" | "watch";

/**
 * Keeps a store equal to a resource of an API server: list, then watch, for ever. Whatever happens to the server, the
 * network or a line, the store is right again by itself, and until then it is what it was.
 */
export class Reflector {
  readonly #options: ReflectorOptions;
  readonly #limits: ReflectorLimits;
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #backoff;
  readonly #faults;
  readonly #sources: ListSources;
  readonly #stopping = new AbortController();
  #running: Promise<void> | undefined;

  #version: string | undefined;
  /** The resource version up to which the store is right; undefined: it has never been filled. */
  #position: string | undefined;
  #step: Step = "discover";
  /** Whether the server began to answer the last request, or took too long to begin. */
  #wasReached = false;
  /** Whether the last watch brought something or lived for a moment. */
  #working = false;
  /** Watches that ended in silence since one brought something. */
  #silences = 0;
  /** Refused watches since one worked. */
  #refusedWatches = 0;
  /** Lists since a watch worked. */
  #relists = 0;

  #synced = false;
  #fault: string | undefined;
  #confirmedAtMs: number | undefined;

  constructor(options: ReflectorOptions) {
    this.#options = options;
    this.#limits = { ...DEFAULT_REFLECTOR_LIMITS, ...options.limits };
    this.#clock = options.clock;
    this.#random = options.random ?? Math.random;
    this.#backoff = createBackoff(this.#random);
    this.#faults = createFaultLog(options.logger, this.#clock);
    this.#sources = new ListSources(this.#clock, this.#limits.streamRetryMs);
  }

  /** Begins; calling it again does nothing. */
  start(): void {
    this.#running ??= this.#run(this.#stopping.signal);
  }

  /** Ends all requests; the store keeps what it has. Idempotent. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#running;
  }

  status(): ReflectorStatus {
    return { synced: this.#synced, fault: this.#fault, confirmedAtMs: this.#confirmedAtMs };
  }

  async #run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      let pauseMs = 0;
      const startedMs = this.#clock.monotonic();
      this.#wasReached = false;
      try {
        await this.#take(signal);
      } catch (error) {
        if (this.#clock.monotonic() - startedMs >= this.#limits.headMaxMs) this.#wasReached = true;
        pauseMs = signal.aborted ? 0 : this.#afterFailure(toKubeError(error));
      }
      if (pauseMs > 0) await sleep(this.#clock, pauseMs, signal);
    }
  }

  async #take(signal: AbortSignal): Promise<void> {
    const source = this.#sources.due;
    this.#step = this.#version === undefined ? "discover" : source === undefined ? "watch" : "list";
    if (this.#step === "discover") this.#version = await this.#options.findVersion(signal);
    else if (source === undefined) await this.#watch(signal);
    else if (source === "stream") await this.#stream(signal);
    else await this.#list(source, signal);
  }

  async #list(source: ListSource, signal: AbortSignal): Promise<void> {
    const startedMs = this.#clock.monotonic();
    const filling = beginFilling(this.#options.store);
    try {
      const position = await listObjects(this.#resource(), {
        ...this.#requestOptions(signal),
        ...(source === "cache" && this.#position !== undefined && { notOlderThan: this.#position }),
        ...(source === "pages" && { pageSize: this.#limits.pageSize }),
        onObject: (object) => filling.add(object),
      });
      this.#checkNotOlder(position, source);
      this.#commit(filling, { position, startedMs });
    } finally {
      filling.abort();
    }
  }

  /** Fills the store from a stream of objects, and goes on as a watch over the same connection. */
  async #stream(signal: AbortSignal): Promise<void> {
    const startedMs = this.#clock.monotonic();
    const filling = beginFilling(this.#options.store);
    const fill = (change: WatchChange): void => {
      if (change.type === "set") return filling.add(change.object);
      if (change.type === "remove") return filling.remove(change.object);
      this.#commit(filling, { position: change.position, startedMs });
      this.#step = "watch";
    };
    try {
      await this.#follow(fill, (options) => streamObjects(this.#resource(), this.#position, options), signal);
    } finally {
      filling.abort();
    }
  }

  async #watch(signal: AbortSignal): Promise<void> {
    const position = this.#position ?? "";
    if (this.#silences > 0) await this.#checkHistory(position, signal);
    await this.#follow(undefined, (options) => watchObjects(this.#resource(), position, options), signal);
  }

  /** Takes changes from a watch until it ends; `fill` takes those that come before a stream's objects have ended. */
  async #follow(
    fill: ((change: WatchChange) => void) | undefined,
    watch: (options: WatchOptions) => Promise<void>,
    signal: AbortSignal,
  ): Promise<void> {
    const trial = createWatchTrial(this.#clock, { minMs: this.#limits.watchMinMs, onPass: () => this.#works() });
    const accept = () => {
      this.#becomeSynced();
      trial.begin();
    };
    const onOpen = () => {
      this.#wasReached = true;
      if (fill === undefined) accept();
    };
    const onChange = (change: WatchChange) => {
      if (this.#step === "watch") {
        this.#apply(change);
        trial.pass();
        return;
      }
      fill?.(change);
      if (this.#sources.due === undefined) accept();
    };
    try {
      await watch({ ...this.#requestOptions(signal), random: this.#random, onOpen, onChange });
    } finally {
      trial.end();
    }
    trial.checkDuration();
  }

  #requestOptions(signal: AbortSignal) {
    const onOpen = () => {
      this.#wasReached = true;
    };
    return { client: this.#options.client, clock: this.#clock, signal, limits: this.#limits, onOpen };
  }

  /** @param at `position`: the resource version of the content. `startedMs`: when it was asked for, monotonic. */
  #commit(filling: StoreFilling, at: { readonly position: string; readonly startedMs: number }): void {
    const count = filling.commit();
    this.#position = at.position;
    this.#sources.end();
    this.#confirmedAtMs = at.startedMs;
    this.#relists += 1;
    const tookMs = Math.round(this.#clock.monotonic() - at.startedMs);
    const resource = this.#resource();
    const what = `${count} ${describeResource(resource)} (${resource.version})`;
    this.#options.logger.info(`Kubernetes: listed ${what} in ${tookMs} ms`);
  }

  /**
   * Silence has two causes besides a dead connection. A server without a watch cache sends no bookmarks: the watch goes
   * on from its position. A server whose history went back (etcd restored from a backup) keeps silent until it passes
   * the position again: only a list helps.
   */
  async #checkHistory(position: string, signal: AbortSignal): Promise<void> {
    const current = await readCurrentVersion(this.#resource(), this.#requestOptions(signal));
    if ((compareResourceVersions(current, position) ?? 0) >= 0) return;
    throw new KubeError("protocol", `the API server is at version ${current}, behind ${position}`);
  }

  /** A consistent list is right however old it is: the server has nothing newer. Any other list must keep its promise. */
  #checkNotOlder(position: string, source: ListSource): void {
    const order = this.#position === undefined ? undefined : compareResourceVersions(position, this.#position);
    if (order === undefined || order >= 0) return;
    if (source === "cache") throw new KubeError("protocol", `the list is of version ${position}, older than asked for`);
    const { logger } = this.#options;
    logger.warn(`Kubernetes: the history of the API server went back from ${this.#position ?? ""} to ${position}`);
  }

  #apply(change: WatchChange): void {
    const { store } = this.#options;
    if (change.type === "set") store.set(change.object);
    else if (change.type === "remove") store.remove(change.object);
    this.#position = change.position;
    this.#confirmedAtMs = this.#clock.monotonic();
    this.#silences = 0;
  }

  #becomeSynced(): void {
    if (this.#synced) return;
    this.#synced = true;
    this.#options.onSynced();
  }

  /** The watch delivers: there is nothing to make up for and no fault. */
  #works(): void {
    this.#working = true;
    this.#backoff.reset();
    this.#refusedWatches = 0;
    this.#relists = 0;
    this.#fault = undefined;
    this.#faults.clear(`Kubernetes: watching ${describeResource(this.#resource())} works again`);
  }

  /** Decides what comes next and gives the milliseconds to wait before it. */
  #afterFailure(error: KubeError): number {
    const step = this.#step;
    const resource = this.#resource();
    if (error.kind === "missing") {
      this.#version = undefined;
      // Another version may be served by another server: an aggregated one, or an upgraded one.
      this.#sources.forget();
    }
    if (step === "list" && this.#changeSource(error).isImmediate) return 0;
    const wasWorking = this.#working;
    this.#working = false;
    const relist = step === "watch" && this.#isPositionLost(error);
    if (relist) this.#sources.begin(this.#position !== undefined);
    // History compacted while the connection was away is repaired by a list. It is not a fault.
    if (relist && error.kind === "expired" && this.#relists === 0) {
      this.#warn("listing", error);
      return this.#limits.relistSpreadMs * this.#random();
    }
    if (step === "watch" && error.kind === "silent") return this.#afterSilence(error);
    // Load balancers cut connections every now and then: that alone is worth no error.
    if (step === "watch" && error.kind === "unreachable" && wasWorking) {
      this.#warn("watching", error);
      return this.#backoff.next();
    }
    const fault = explainFault(error, step, resource);
    this.#fault = fault;
    this.#faults.report(`${step} ${error.kind}`, fault);
    // A server that starts says "in 5 s" however soon it will be up: only a limit of its own is believed beyond 2 s.
    const retryAfterMaxMs = error.kind === "throttled" ? Number.POSITIVE_INFINITY : BACKOFF_MAX_MS;
    const pauseMs = this.#backoff.next(Math.min(error.retryAfterMs ?? 0, retryAfterMaxMs));
    return relist && this.#relists >= this.#limits.relistsInARow
      ? Math.max(pauseMs, this.#limits.relistPauseMs)
      : pauseMs;
  }

  #changeSource(error: KubeError): NextSource {
    const source = this.#sources.due;
    const next = this.#sources.fail({ error, wasReached: this.#wasReached }, this.#position !== undefined);
    if (next.isImmediate) {
      const how = `${describeResource(this.#resource())} by ${next.source} instead of ${source}`;
      this.#options.logger.info(`Kubernetes: listing ${how}: ${error.message}`);
    }
    return next;
  }

  /** Silence is not a fault where the server sends no bookmarks: it is said once, and another watch is tried. */
  #afterSilence(error: KubeError): number {
    this.#silences += 1;
    if (this.#silences % this.#limits.silencesBeforeRelist === 0) this.#sources.begin(true);
    if (this.#silences === 1) this.#warn("watching", error);
    return 0;
  }

  #warn(doing: string, error: KubeError): void {
    this.#options.logger.warn(`Kubernetes: ${doing} ${describeResource(this.#resource())} again: ${error.message}`);
  }

  /** Whether what the store has missed can no longer be had by watching from where it is. */
  #isPositionLost({ kind }: KubeError): boolean {
    const position = positionAfter(kind);
    if (position !== "doubtful") return position === "lost";
    this.#refusedWatches += 1;
    return this.#refusedWatches % this.#limits.refusalsBeforeRelist === 0;
  }

  #resource(): KubeResource {
    return { ...this.#options.resource, version: this.#version ?? "" };
  }
}
