import { sleep, type Clock } from "../clock.ts";
import type { Logger } from "../log/logger.ts";
import type { KubeClient } from "./client.ts";
import { KubeError, toKubeError } from "./errors.ts";
import type { ListSource } from "./list-source.ts";
import { listObjects, readCurrentVersion } from "./list.ts";
import { Recovery, type ReflectorStep } from "./recovery.ts";
import { DEFAULT_REFLECTOR_LIMITS, type ReflectorLimits } from "./reflector-limits.ts";
import type { ReflectorStore } from "./reflector-store.ts";
import { compareResourceVersions, describeResource, type KubeResource } from "./resource.ts";
import { beginFilling, type StoreFilling } from "./store-filling.ts";
import { createWatchTrial } from "./watch-trial.ts";
import type { ListReason, WatchCounts } from "./watch-counts.ts";
import { streamObjects, watchObjects, type WatchChange, type WatchOptions } from "./watch.ts";

export interface ReflectorStatus {
  /** Whether the first list has been applied and then a watch accepted. It never becomes false again. */
  readonly synced: boolean;
  /** What is wrong, in one line; undefined if nothing is. */
  readonly fault: string | undefined;
  /**
   * Monotonic milliseconds of the last moment at which the API server confirmed the content: an event, a bookmark, or
   * the request of a successful list. Undefined: never.
   */
  readonly confirmedAtMs: number | undefined;
}

export interface ReflectorOptions {
  readonly client: KubeClient;
  readonly resource: Omit<KubeResource, "version">;
  /** Finds the version to use. Called before the first list, and again after the server answers 404. */
  readonly findVersion: (signal: AbortSignal) => Promise<string>;
  readonly store: ReflectorStore;
  readonly logger: Logger;
  /** Called once, when `synced` becomes true. */
  readonly onSynced: () => void;
  readonly clock: Clock;
  /** In [0, 1), for jitter. */
  readonly random?: () => number;
  readonly limits?: Partial<ReflectorLimits>;
  /** Where lists and ends of watches are counted. Default: nowhere. */
  readonly counts?: WatchCounts;
}

/**
 * Keeps a store equal to a resource of an API server: lists, then watches, for ever. After any fault of the server or
 * the network, the store recovers without help. Until then it keeps its content.
 */
export class Reflector {
  readonly #options: ReflectorOptions;
  readonly #limits: ReflectorLimits;
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #recovery: Recovery;
  readonly #stopping = new AbortController();
  #running: Promise<void> | undefined;

  #version: string | undefined;
  /** The resource version of the store's content; undefined if it has never been filled. */
  #position: string | undefined;
  #step: ReflectorStep = "discover";
  /** Why the next list is made. */
  #listReason: ListReason = "initial";
  /** Whether the server began to answer the last request, or took too long to begin. */
  #wasReached = false;
  #synced = false;
  #confirmedAtMs: number | undefined;

  constructor(options: ReflectorOptions) {
    this.#options = options;
    this.#limits = { ...DEFAULT_REFLECTOR_LIMITS, ...options.limits };
    this.#clock = options.clock;
    this.#random = options.random ?? Math.random;
    this.#recovery = new Recovery({
      logger: options.logger,
      clock: this.#clock,
      random: this.#random,
      limits: this.#limits,
    });
  }

  /** Starts. Further calls do nothing. */
  start(): void {
    this.#running ??= this.#run(this.#stopping.signal);
  }

  /** Ends all requests. The store keeps its content. Idempotent. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#running;
  }

  status(): ReflectorStatus {
    return { synced: this.#synced, fault: this.#recovery.fault, confirmedAtMs: this.#confirmedAtMs };
  }

  async #run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      let pauseMs = 0;
      const startedMs = this.#clock.monotonic();
      this.#wasReached = false;
      try {
        await this.#take(signal);
        if (this.#step === "watch") this.#options.counts?.countWatchEnd("ended");
      } catch (error) {
        if (this.#clock.monotonic() - startedMs >= this.#limits.headMaxMs) this.#wasReached = true;
        pauseMs = signal.aborted ? 0 : this.#afterFailure(toKubeError(error));
      }
      if (pauseMs > 0) await sleep(this.#clock, pauseMs, signal);
    }
  }

  async #take(signal: AbortSignal): Promise<void> {
    const source = this.#recovery.dueList;
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

  /** Fills the store from a stream of objects. The same connection then continues as a watch. */
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
    if (this.#recovery.isAfterSilence) await this.#checkHistory(position, signal);
    await this.#follow(undefined, (options) => watchObjects(this.#resource(), position, options), signal);
  }

  /** Applies the changes of a watch until it ends. `fill` receives those before the end of a stream's objects. */
  async #follow(
    fill: ((change: WatchChange) => void) | undefined,
    watch: (options: WatchOptions) => Promise<void>,
    signal: AbortSignal,
  ): Promise<void> {
    const onPass = () => this.#recovery.recordWorkingWatch(this.#resource());
    const trial = createWatchTrial(this.#clock, { minMs: this.#limits.watchMinMs, onPass });
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
      if (this.#recovery.dueList === undefined) accept();
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

  /** @param at `position`: the resource version of the content. `startedMs`: monotonic time of the request. */
  #commit(filling: StoreFilling, at: { readonly position: string; readonly startedMs: number }): void {
    const count = filling.commit();
    this.#options.counts?.countList(this.#listReason);
    this.#position = at.position;
    this.#confirmedAtMs = at.startedMs;
    this.#recovery.recordList();
    const tookMs = Math.round(this.#clock.monotonic() - at.startedMs);
    const resource = this.#resource();
    const what = `${count} ${describeResource(resource)} (${resource.version})`;
    this.#options.logger.info(`Kubernetes: listed ${what} in ${tookMs} ms`);
  }

  /**
   * Silence has two causes besides a dead connection. A server without a watch cache sends no bookmarks; the watch can
   * continue from its position. A server whose history went back (etcd restored from a backup) is silent until it
   * passes the position again; only a list helps.
   */
  async #checkHistory(position: string, signal: AbortSignal): Promise<void> {
    const current = await readCurrentVersion(this.#resource(), this.#requestOptions(signal));
    if ((compareResourceVersions(current, position) ?? 0) >= 0) return;
    throw new KubeError("protocol", `the API server is at version ${current}, behind ${position}`);
  }

  /**
   * A consistent list is correct at any version: the server has nothing newer. A list from the cache must not be older.
   */
  #checkNotOlder(position: string, source: ListSource): void {
    const order = this.#position === undefined ? undefined : compareResourceVersions(position, this.#position);
    if (order === undefined || order >= 0) return;
    if (source === "cache") throw new KubeError("protocol", `the list has version ${position}, older than requested`);
    const { logger } = this.#options;
    logger.warn(`Kubernetes: the history of the API server went back from ${this.#position ?? ""} to ${position}`);
  }

  #apply(change: WatchChange): void {
    const { store } = this.#options;
    if (change.type === "set") store.set(change.object);
    else if (change.type === "remove") store.remove(change.object);
    this.#position = change.position;
    this.#confirmedAtMs = this.#clock.monotonic();
    this.#recovery.recordChange();
  }

  #becomeSynced(): void {
    if (this.#synced) return;
    this.#synced = true;
    this.#options.onSynced();
  }

  /** Returns the milliseconds to wait before the next step. */
  #afterFailure(error: KubeError): number {
    const resource = this.#resource();
    if (error.kind === "missing") this.#version = undefined;
    const pauseMs = this.#recovery.afterFailure({
      step: this.#step,
      error,
      resource,
      hasPosition: this.#position !== undefined,
      wasReached: this.#wasReached,
    });
    if (this.#step === "watch") {
      this.#options.counts?.countWatchEnd(error.kind);
      if (this.#recovery.dueList !== undefined) this.#listReason = error.kind;
    }
    return pauseMs;
  }

  #resource(): KubeResource {
    return { ...this.#options.resource, version: this.#version ?? "" };
  }
}
