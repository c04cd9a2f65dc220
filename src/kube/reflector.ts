import { sleep, systemClock, type Clock } from "../clock.ts";
import type { Logger } from "../log.ts";
import { BACKOFF_MAX_MS, createBackoff } from "./backoff.ts";
import { createFaultLog } from "./fault-log.ts";
import type { KubeClient } from "./kube-client.ts";
import { explainFault, KubeError, toKubeError } from "./kube-error.ts";
import { DEFAULT_REFLECTOR_LIMITS, type ReflectorLimits } from "./limits.ts";
import { listObjects, PageTooLargeError } from "./list.ts";
import { describeResource, type KubeObject, type KubeResource } from "./resource.ts";
import { watchObjects, type WatchChange } from "./watch.ts";

/** A list on its way into the store. */
export interface StoreReplacement {
  add(object: KubeObject): void;
  /** Makes what was added the whole content of the store, in one step. */
  commit(): void;
  /** Forgets what was added; the store keeps what it has. */
  abort(): void;
}

/** What a reflector keeps equal to the server. Objects are handed over once; their memory is the store's to decide. */
export interface ReflectorStore {
  beginReplace(): StoreReplacement;
  /** Adds or replaces an object; the same one may come twice. */
  set(object: KubeObject): void;
  /** Forgets an object; it need not be there. */
  remove(object: KubeObject): void;
}

export interface ReflectorStatus {
  /** Whether the first list has been applied and a watch has been accepted after it. Never goes back to false. */
  readonly synced: boolean;
  /** What is wrong, in one line; undefined: nothing. */
  readonly fault: string | undefined;
  /** Monotonic milliseconds of the last moment at which the store was known to equal the server; undefined: never. */
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
  readonly clock?: Clock;
  /** In [0, 1), for jitter. */
  readonly random?: () => number;
  readonly limits?: Partial<ReflectorLimits>;
}

/**
 * Keeps a store equal to a resource of an API server: list, then watch, for ever. Whatever happens to the server, the
 * network or a line, the store is right again by itself, and until then it is what it was.
 */
export interface Reflector {
  /** Begins; calling it again does nothing. */
  start(): void;
  /** Ends all requests; the store keeps what it has. Idempotent. */
  stop(): Promise<void>;
  status(): ReflectorStatus;
}

export function createReflector(options: ReflectorOptions): Reflector {
  return new ListWatchReflector(options);
}

type Step = "discover" | "list" | "watch";

class ListWatchReflector implements Reflector {
  readonly #options: ReflectorOptions;
  readonly #limits: ReflectorLimits;
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #backoff;
  readonly #faults;
  readonly #stopping = new AbortController();
  #running: Promise<void> | undefined;

  #version: string | undefined;
  /** The resource version up to which the store is right; undefined: a list is due. */
  #position: string | undefined;
  #pageSize: number;
  /** Whether the last watch brought something or lived for a moment. */
  #working = false;
  /** Refused ones since a watch worked. */
  #refusedWatches = 0;
  /** Lists since a watch worked. */
  #relists = 0;

  #synced = false;
  #fault: string | undefined;
  #confirmedAtMs: number | undefined;

  constructor(options: ReflectorOptions) {
    this.#options = options;
    this.#limits = { ...DEFAULT_REFLECTOR_LIMITS, ...options.limits };
    this.#clock = options.clock ?? systemClock;
    this.#random = options.random ?? Math.random;
    this.#backoff = createBackoff(this.#random);
    this.#faults = createFaultLog(options.logger, this.#clock);
    this.#pageSize = this.#limits.pageSize;
  }

  start(): void {
    this.#running ??= this.#run(this.#stopping.signal);
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#running;
  }

  status(): ReflectorStatus {
    return { synced: this.#synced, fault: this.#fault, confirmedAtMs: this.#confirmedAtMs };
  }

  async #run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const step: Step = this.#version === undefined ? "discover" : this.#position === undefined ? "list" : "watch";
      let pauseMs = 0;
      try {
        await this.#take(step, signal);
      } catch (error) {
        pauseMs = signal.aborted ? 0 : this.#afterFailure(step, toKubeError(error));
      }
      if (pauseMs > 0) await sleep(this.#clock, pauseMs, signal);
    }
  }

  async #take(step: Step, signal: AbortSignal): Promise<void> {
    if (step === "discover") this.#version = await this.#options.findVersion(signal);
    else if (step === "list") await this.#list(signal);
    else await this.#watch(signal);
  }

  async #list(signal: AbortSignal): Promise<void> {
    const { client, store, logger } = this.#options;
    const startedMs = this.#clock.monotonic();
    const replacement = store.beginReplace();
    let count = 0;
    try {
      this.#position = await listObjects(this.#resource(), {
        client,
        clock: this.#clock,
        signal,
        limits: this.#limits,
        pageSize: this.#pageSize,
        onObject: (object) => {
          count += 1;
          replacement.add(object);
        },
      });
      replacement.commit();
    } catch (error) {
      replacement.abort();
      throw error;
    }
    this.#confirmedAtMs = startedMs;
    this.#relists += 1;
    const tookMs = Math.round(this.#clock.monotonic() - startedMs);
    const resource = this.#resource();
    logger.info(`Kubernetes: listed ${count} ${describeResource(resource)} (${resource.version}) in ${tookMs} ms`);
  }

  async #watch(signal: AbortSignal): Promise<void> {
    const startedMs = this.#clock.monotonic();
    // A watch works once it has lived for a moment or brought something; to be accepted alone says nothing.
    const proven = { done: false };
    const prove = () => {
      if (proven.done) return;
      proven.done = true;
      this.#works();
    };
    let timer = this.#clock.setTimer(this.#limits.watchMinMs, () => {});
    try {
      await watchObjects(this.#resource(), this.#position ?? "", {
        client: this.#options.client,
        clock: this.#clock,
        signal,
        limits: this.#limits,
        random: this.#random,
        onOpen: () => {
          this.#becomeSynced();
          timer = this.#clock.setTimer(this.#limits.watchMinMs, prove);
        },
        onChange: (change) => {
          this.#apply(change);
          prove();
        },
      });
    } finally {
      timer.cancel();
    }
    if (this.#clock.monotonic() - startedMs < this.#limits.watchMinMs) {
      throw new KubeError("unreachable", "the watch ended as soon as it began");
    }
  }

  #apply(change: WatchChange): void {
    const { store } = this.#options;
    if (change.type === "set") store.set(change.object);
    else if (change.type === "remove") store.remove(change.object);
    this.#position = change.position;
    this.#confirmedAtMs = this.#clock.monotonic();
  }

  #becomeSynced(): void {
    if (this.#synced) return;
    this.#synced = true;
    this.#options.onSynced();
  }

  /** What is watched is what the server has: nothing to make up for, nothing to complain of. */
  #works(): void {
    this.#working = true;
    this.#backoff.reset();
    this.#refusedWatches = 0;
    this.#relists = 0;
    this.#fault = undefined;
    this.#faults.clear(`Kubernetes: watching ${describeResource(this.#resource())} works again`);
  }

  /** Decides what comes next and gives the milliseconds to wait before it. */
  #afterFailure(step: Step, error: KubeError): number {
    if (error instanceof PageTooLargeError && this.#pageSize > 1) this.#pageSize = Math.ceil(this.#pageSize / 2);
    const resource = this.#resource();
    if (error.kind === "missing") this.#version = undefined;
    const relist = step === "watch" && this.#isPositionLost(error);
    if (relist) this.#position = undefined;
    const wasWorking = this.#working;
    this.#working = false;
    // History compacted while the connection was away, and a watch gone quiet, are repaired by a list and no faults.
    if (relist && (error.kind === "expired" || error.kind === "silent") && this.#relists === 0) {
      this.#options.logger.warn(`Kubernetes: listing ${describeResource(resource)} again: ${error.message}`);
      return 0;
    }
    // Load balancers cut connections every now and then: that alone is worth no error.
    if (step === "watch" && error.kind === "unreachable" && wasWorking) {
      this.#options.logger.warn(`Kubernetes: watching ${describeResource(resource)} again: ${error.message}`);
      return this.#backoff.next();
    }
    this.#fault = explainFault(error, step, resource);
    this.#faults.report(`${step} ${error.kind}`, this.#fault);
    // A server that starts says "in 5 s" however soon it will be up: only a limit of its own is believed beyond 2 s.
    const retryAfterMaxMs = error.kind === "throttled" ? Number.POSITIVE_INFINITY : BACKOFF_MAX_MS;
    const pauseMs = this.#backoff.next(Math.min(error.retryAfterMs ?? 0, retryAfterMaxMs));
    return relist && this.#relists >= this.#limits.relistsInARow
      ? Math.max(pauseMs, this.#limits.relistPauseMs)
      : pauseMs;
  }

  /** Whether what the store has missed can no longer be had by watching from where it is. */
  #isPositionLost(error: KubeError): boolean {
    switch (error.kind) {
      case "expired":
      case "protocol":
      // Also for `silent`: after etcd was restored from a backup, a position ahead of it is met with silence.
      case "silent":
      case "forbidden":
      case "missing":
      case "refused":
        return true;
      case "unauthorized":
      case "server":
        this.#refusedWatches += 1;
        return this.#refusedWatches % this.#limits.refusalsBeforeRelist === 0;
      case "credentials":
      case "unreachable":
      case "throttled":
        return false;
      default:
        return error.kind satisfies never;
    }
  }

  #resource(): KubeResource {
    return { ...this.#options.resource, version: this.#version ?? "" };
  }
}
