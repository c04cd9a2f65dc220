import type { Clock, Timer } from "../../clock.ts";
import { IngressError } from "../../errors.ts";
import type { ProxyMetrics } from "../../metrics/metrics.ts";
import type { SandboxProvider, SandboxRecord, SandboxWaker, WakeResult } from "../../sandbox/provider.ts";
import { messageOf } from "../../values.ts";
import type { WakeConfig } from "./hold-config.ts";

/** Shortest time between two wakes of one sandbox, in milliseconds. If somebody pauses it again, that is on purpose. */
const WAKE_INTERVAL_MS = 60_000;

/** The pause after a failed wake, in milliseconds. It doubles up to the longest pause. */
const FAILURE_PAUSE_MIN_MS = 1_000;
const FAILURE_PAUSE_MAX_MS = 60_000;

/** This many doublings reach the longest pause. */
const FAILURE_DOUBLINGS_MAX = 6;

/** How long a sandbox is remembered after its last wake or pause, in milliseconds: as long as the longest pause. */
const REMEMBER_MS = 60_000;

/**
 * How many sandboxes are remembered at most. Beyond that the oldest is forgotten early, and may be woken again too
 * soon.
 */
const REMEMBERED_MAX = 10_000;

/** Why nothing is woken now, for an operator. They have no numbers, so that the log can sum them up. */
const JUST_WOKEN = "the sandbox was woken less than a minute ago, and is not woken again so soon";
const JUST_FAILED = "the last wake failed, and the pause before the next one, of up to a minute, is not over";

/** A wake that requests wait for. */
interface Flight {
  readonly record: SandboxRecord;
  /** Monotonic ms at which the budget of the waiting requests ends. */
  readonly untilMs: number;
  readonly timer: Timer;
  /**
   * Whether a failure that the controller reports belongs to this wake: the sandbox has been seen without a failure
   * since.
   */
  mayFail: boolean;
}

/** What joining a wake now would bring. */
export interface WakeForecast {
  /** Monotonic ms at which the budget ends. */
  readonly untilMs: number;
  /** Whether the sandbox is being woken already. */
  readonly isBegun: boolean;
}

/** What is known about the wakes of one sandbox. */
interface Memory {
  /** Monotonic ms. */
  wokenAtMs: number;
  failures: number;
  /** Monotonic ms until which no wake is tried. */
  pausedUntilMs: number;
}

/** A request that may wake a sandbox. */
export interface WakeRequest {
  readonly method: string;
  /** As it would be forwarded. */
  readonly path: string;
  /** `Sec-Purpose`, or `Purpose` of older browsers: `prefetch` means that no person has asked for the page yet. */
  readonly purpose: string | undefined;
}

export interface WakeDeskParts {
  readonly clock: Clock;
  readonly provider: SandboxProvider;
  readonly waker: SandboxWaker;
  readonly metrics: ProxyMetrics;
  /** Whether requests wait for the wake of a sandbox. */
  isAwaited(record: SandboxRecord): boolean;
  /** Ends the waits for a sandbox whose wake failed. */
  onFailed(record: SandboxRecord, error: IngressError): void;
  /** Logs why a wake failed. */
  warn(message: string): void;
}

/** Decides which request wakes which sandbox, and when. All requests that wait for a sandbox share one wake. */
export class WakeDesk {
  readonly #config: WakeConfig;
  readonly #parts: WakeDeskParts;
  /** By uid. */
  readonly #flights = new Map<string, Flight>();
  /** By uid, least recently changed first. */
  readonly #memories = new Map<string, Memory>();
  /** Calls of the waker without an answer yet. */
  #calls = 0;
  /** Wakes that wait until fewer calls are under way, by uid, in order. Each has a flight. */
  readonly #waiting = new Map<string, SandboxRecord>();

  constructor(config: WakeConfig, parts: WakeDeskParts) {
    this.#config = config;
    this.#parts = parts;
    parts.provider.onChange((name) => this.#lookAtFlights(name));
  }

  /** Sandboxes that are being woken now. */
  get size(): number {
    return this.#flights.size;
  }

  isWaking(uid: string): boolean {
    return this.#flights.has(uid);
  }

  /**
   * Why a request does not wait for the wake of a sandbox, for an operator; undefined: it does. Access has been checked:
   * if the sandbox is secured, the request has shown its credential.
   */
  reasonAgainst(record: SandboxRecord, request: WakeRequest): string | undefined {
    if (record.sleep === undefined) return "the sandbox is not paused";
    if (this.#isStray(request)) return "HEAD, OPTIONS, prefetches and --wake-ignore-paths wake no sandbox";
    const { wakesOnAccess } = record.policy ?? {};
    if (wakesOnAccess === false) return 'its annotation wake-on-access is "false"';
    if (wakesOnAccess === true) return undefined;
    if (this.#config.scope !== "all") return "it lacks the annotation wake-on-access";
    return record.accessToken === "" ? "it is open and lacks the annotation wake-on-access" : undefined;
  }

  /** What `join` would do now. Throws what `join` would throw. Wakes nobody and changes nothing. */
  foresee(record: SandboxRecord): WakeForecast {
    const flight = this.#flights.get(record.uid);
    if (flight !== undefined) return { untilMs: flight.untilMs, isBegun: true };
    const now = this.#parts.clock.monotonic();
    const isTold = record.sleep === "waking";
    this.#checkDue(record, { now, isTold });
    return { untilMs: now + this.#config.parkBudgetMs, isBegun: isTold };
  }

  /**
   * Joins the wake of a sandbox, or begins it. Returns the monotonic ms at which the budget ends.
   * A wake waits while too many others wait for the API server.
   * Throws `wake_failed` during the pause after a failed wake, `wake_busy` if too many wakes are open, and
   * `sandbox_not_ready` for a sandbox that was woken within the last minute.
   */
  join(record: SandboxRecord): number {
    const { clock, metrics } = this.#parts;
    const flight = this.#flights.get(record.uid);
    if (flight !== undefined) {
      metrics.wakeAsked("joined");
      return flight.untilMs;
    }
    const now = clock.monotonic();
    // Somebody else has told it to run, so the request only waits.
    const isTold = record.sleep === "waking";
    try {
      this.#checkDue(record, { now, isTold });
    } catch (thrown) {
      metrics.wakeAsked("none");
      throw thrown;
    }
    this.#makeRoom();
    const untilMs = now + this.#config.parkBudgetMs;
    const timer = clock.setTimer(this.#config.parkBudgetMs, () => this.#end(record.uid));
    this.#flights.set(record.uid, { record, untilMs, timer, mayFail: record.sleep !== "failed" });
    if (isTold) {
      metrics.wakeAsked("joined");
      return untilMs;
    }
    metrics.wakeAsked("triggered");
    this.#waiting.set(record.uid, record);
    this.#wakeNext();
    return untilMs;
  }

  /** Forgets what is no longer needed. */
  sweep(nowMs: number): void {
    for (const [uid, { wokenAtMs, pausedUntilMs }] of this.#memories) {
      if (nowMs - Math.max(wokenAtMs, pausedUntilMs) >= REMEMBER_MS) this.#memories.delete(uid);
    }
  }

  #isStray({ method, path, purpose }: WakeRequest): boolean {
    if (method === "HEAD" || method === "OPTIONS") return true;
    return this.#config.ignoredPaths.has(path) || purpose?.includes("prefetch") === true;
  }

  #checkDue(record: SandboxRecord, { now, isTold }: { readonly now: number; readonly isTold: boolean }): void {
    const memory = this.#memories.get(record.uid);
    if (memory !== undefined && now < memory.pausedUntilMs) {
      throw new IngressError("wake_failed", undefined, { cause: JUST_FAILED });
    }
    if (!this.#hasRoom()) throw new IngressError("wake_busy");
    if (isTold) return;
    if (memory === undefined || memory.failures > 0) return;
    if (now - memory.wokenAtMs >= WAKE_INTERVAL_MS) return;
    throw new IngressError("sandbox_not_ready", record.notReady, { cause: JUST_WOKEN });
  }

  /**
   * There are at most as many wakes as waiting requests. A wake without waiting requests goes on, but is no longer
   * followed.
   */
  #hasRoom(): boolean {
    return this.#flights.size < this.#config.parkMax || this.#findUnawaited() !== undefined;
  }

  #makeRoom(): void {
    const uid = this.#flights.size < this.#config.parkMax ? undefined : this.#findUnawaited();
    if (uid !== undefined) this.#end(uid);
  }

  #findUnawaited(): string | undefined {
    for (const [uid, { record }] of this.#flights) if (!this.#parts.isAwaited(record)) return uid;
    return undefined;
  }

  #wakeNext(): void {
    for (const [uid, record] of this.#waiting) {
      if (this.#calls >= this.#config.wakeMax) return;
      this.#waiting.delete(uid);
      const now = this.#parts.clock.monotonic();
      this.#remember(uid, now).wokenAtMs = now;
      void this.#wake(record);
    }
  }

  async #wake(record: SandboxRecord): Promise<void> {
    const result = await this.#attempt(record);
    if (result.kind === "failed") this.#fail(record, result.reason);
    // The watch reports a sandbox that is gone or replaced.
    else if (result.kind === "gone") this.#end(record.uid);
    this.#wakeNext();
  }

  async #attempt(record: SandboxRecord): Promise<WakeResult> {
    this.#calls++;
    try {
      return await this.#parts.waker.wake(record);
    } catch (thrown) {
      return { kind: "failed", reason: messageOf(thrown) };
    } finally {
      this.#calls--;
    }
  }

  #fail(record: SandboxRecord, reason: string): void {
    const now = this.#parts.clock.monotonic();
    const memory = this.#remember(record.uid, now);
    const doublings = Math.min(memory.failures, FAILURE_DOUBLINGS_MAX);
    memory.pausedUntilMs = now + Math.min(FAILURE_PAUSE_MAX_MS, FAILURE_PAUSE_MIN_MS * 2 ** doublings);
    memory.failures++;
    this.#end(record.uid);
    this.#parts.warn(`cannot wake sandbox ${record.namespace}/${record.name}: ${reason}`);
    this.#parts.onFailed(record, new IngressError("wake_failed", undefined, { cause: reason }));
  }

  #end(uid: string): void {
    this.#flights.get(uid)?.timer.cancel();
    this.#flights.delete(uid);
    this.#waiting.delete(uid);
  }

  #remember(uid: string, now: number): Memory {
    const known = this.#memories.get(uid);
    this.#memories.delete(uid);
    const [oldest] = this.#memories.size >= REMEMBERED_MAX ? this.#memories.keys() : [];
    if (oldest !== undefined) this.#memories.delete(oldest);
    const memory = known ?? { wokenAtMs: now, failures: 0, pausedUntilMs: 0 };
    this.#memories.set(uid, memory);
    return memory;
  }

  /** @param name The name of the sandbox that changed; undefined: any may have. */
  #lookAtFlights(name: string | undefined): void {
    for (const [uid, flight] of this.#flights) {
      const { record } = flight;
      if (name !== undefined && record.name !== name) continue;
      const now = this.#parts.provider.view.find(record.namespace, record.name);
      if (now?.uid !== uid) this.#end(uid);
      else if (now.ready) {
        const memory = this.#memories.get(uid);
        if (memory !== undefined) memory.failures = 0;
        this.#end(uid);
      } else if (now.sleep !== "failed") flight.mayFail = true;
      else if (flight.mayFail) this.#fail(record, now.notReady);
    }
  }
}
