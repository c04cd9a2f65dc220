import type { Clock, Timer } from "../../clock.ts";
import { IngressError, toInternalError } from "../../errors.ts";
import type { Logger } from "../../log/logger.ts";
import type { JudgeAddress } from "../../sandbox/projection/endpoint-rules.ts";
import { messageOf } from "../../values.ts";
import { chooseAddress } from "./choose-address.ts";
import type { LookupName, NameAnswer } from "./dns-lookup.ts";
import { LookupQueue } from "./lookup-queue.ts";

/**
 * Time between two look-ups of a name in use, in milliseconds. With `LOOKUP_MAX_MS` a changed address is noticed after
 * at most 3.5 s, plus the time that the cluster's DNS caches it.
 */
export const LOOKUP_INTERVAL_MS = 1_500;

/** The same while requests wait for a name that does not resolve yet. A new name appears within seconds. */
export const RETRY_INTERVAL_MS = 250;

/** After this many milliseconds without a request, a name that no exchange uses is not looked up any more. */
export const NAME_IDLE_MAX_MS = 60_000;

/**
 * How long an address stays in use although look-ups fail or find nothing, in milliseconds. A restart of the cluster's
 * DNS takes less. After much longer the address of a deleted pod could belong to another tenant.
 */
export const ADDRESS_KEPT_MAX_MS = 60_000;

/** Names at a time: as many as requests by default. Each takes about 1 KiB. */
export const NAMES_MAX = 10_000;

/** Requests that may wait for names at a time. For one name, at most as many may wait as there are free places. */
export const WAITERS_MAX = 10_000;

export interface NameResolverOptions {
  readonly clock: Clock;
  readonly lookup: LookupName;
  readonly judge: JudgeAddress;
  /** How long a request waits for a name that does not resolve, in milliseconds. */
  readonly connectTimeoutMs: number;
  /**
   * Whether open exchanges use the address of the name. Such a name is looked up even if no new request asks for it.
   */
  readonly isInUse: (name: string) => boolean;
  /** Called when an answer no longer contains the address in use, or when that address must not be dialled any more. */
  readonly onAddressGone: (name: string, address: string) => void;
  /** Logs callbacks that throw. */
  readonly logger: Pick<Logger, "error">;
}

/**
 * The addresses of names in use. It looks names up itself, checks the addresses like endpoints, and repeats the look-up
 * while a name is in use.
 */
export interface NameResolver {
  /**
   * Returns the canonical address to dial: at once if it is known, else as soon as the name resolves. An address stays
   * in use as long as answers contain it. Never throws. The promise rejects with the signal's reason or an
   * IngressError: `upstream_unresolved` after `connectTimeoutMs` or if a limit is reached, `sandbox_not_ready` if no
   * address may be dialled.
   */
  resolve(name: string, signal?: AbortSignal): string | Promise<string>;
  /** How much it holds now. */
  stats(): { readonly names: number; readonly waiting: number; readonly lookups: number };
  /** Stops all look-ups. Requests that wait are refused as `draining`. Idempotent. */
  stop(): void;
}

interface Waiter {
  readonly resolve: (address: string) => void;
  readonly reject: (reason: unknown) => void;
}

interface NameState {
  readonly name: string;
  readonly waiters: Set<Waiter>;
  /** The address in use; undefined: the name never resolved, or to no address that may be dialled. */
  address: string | undefined;
  /** Why no address of the name may be dialled; undefined: one may, or nothing is known. */
  refusal: string | undefined;
  /** When an answer last confirmed that, in monotonic milliseconds. */
  knownAtMs: number;
  usedAtMs: number;
  lookedUpAtMs: number;
  isLooking: boolean;
  timer: Timer | undefined;
  /** Why the last look-up found nothing, for the log. */
  failure: string;
}

export function createNameResolver(options: NameResolverOptions): NameResolver {
  return new BoundedNameResolver(options);
}

class BoundedNameResolver implements NameResolver {
  readonly #options: NameResolverOptions;
  readonly #names = new Map<string, NameState>();
  readonly #lookups: LookupQueue;
  #waiting = 0;
  #isStopped = false;

  constructor(options: NameResolverOptions) {
    this.#options = options;
    this.#lookups = new LookupQueue(options);
  }

  resolve(name: string, signal?: AbortSignal): string | Promise<string> {
    if (this.#isStopped) return Promise.reject(new IngressError("draining"));
    const nowMs = this.#options.clock.monotonic();
    const state = this.#names.get(name) ?? this.#add(name);
    if (state === undefined) return Promise.reject(unresolved(`more than ${NAMES_MAX} names are in use`));
    state.usedAtMs = nowMs;
    if (nowMs - state.knownAtMs < ADDRESS_KEPT_MAX_MS) {
      if (state.address !== undefined) return state.address;
      if (state.refusal !== undefined) return Promise.reject(unfit(state.refusal));
    }
    return this.#wait(state, signal);
  }

  stats() {
    return { names: this.#names.size, waiting: this.#waiting, lookups: this.#lookups.running };
  }

  stop(): void {
    this.#isStopped = true;
    for (const state of this.#names.values()) {
      state.timer?.cancel();
      for (const waiter of state.waiters) waiter.reject(new IngressError("draining"));
    }
    this.#names.clear();
  }

  #add(name: string): NameState | undefined {
    if (this.#names.size >= NAMES_MAX && !this.#evict()) return undefined;
    const state: NameState = {
      name,
      waiters: new Set(),
      address: undefined,
      refusal: undefined,
      knownAtMs: Number.NEGATIVE_INFINITY,
      usedAtMs: 0,
      lookedUpAtMs: Number.NEGATIVE_INFINITY,
      isLooking: false,
      timer: undefined,
      failure: "no look-up has ended",
    };
    this.#names.set(name, state);
    return state;
  }

  /** Forgets the unused name that was asked for least recently. False: all names are in use. */
  #evict(): boolean {
    let oldest: NameState | undefined;
    for (const state of this.#names.values()) {
      if (state.waiters.size > 0 || (oldest !== undefined && state.usedAtMs >= oldest.usedAtMs)) continue;
      if (!this.#isInUse(state.name)) oldest = state;
    }
    if (oldest !== undefined) this.#forget(oldest);
    return oldest !== undefined;
  }

  #forget(state: NameState): void {
    state.timer?.cancel();
    this.#names.delete(state.name);
  }

  #wait(state: NameState, signal: AbortSignal | undefined): Promise<string> {
    if (signal?.aborted === true) return Promise.reject(signal.reason);
    if (state.waiters.size >= WAITERS_MAX - this.#waiting) {
      return Promise.reject(unresolved("too many requests wait for names"));
    }
    const { promise, resolve, reject } = Promise.withResolvers<string>();
    const leave = (): void => {
      if (!state.waiters.delete(waiter)) return;
      this.#waiting -= 1;
      timer.cancel();
      signal?.removeEventListener("abort", onAbort);
    };
    const waiter: Waiter = {
      resolve: (address) => (leave(), resolve(address)),
      reject: (reason) => (leave(), reject(reason)),
    };
    const onAbort = () => waiter.reject(signal?.reason);
    const { clock, connectTimeoutMs } = this.#options;
    const timer = clock.setTimer(connectTimeoutMs, () => waiter.reject(unresolved(`${state.name}: ${state.failure}`)));
    signal?.addEventListener("abort", onAbort, { once: true });
    state.waiters.add(waiter);
    this.#waiting += 1;
    this.#schedule(state);
    return promise;
  }

  /** Sets the time of the next look-up, counted from the end of the last one. */
  #schedule(state: NameState): void {
    if (state.isLooking || this.#isStopped) return;
    const { clock } = this.#options;
    const intervalMs = state.waiters.size > 0 ? RETRY_INTERVAL_MS : LOOKUP_INTERVAL_MS;
    const delayMs = state.lookedUpAtMs + intervalMs - clock.monotonic();
    state.timer?.cancel();
    state.timer = undefined;
    if (delayMs <= 0) void this.#look(state);
    else state.timer = clock.setTimer(delayMs, () => void this.#look(state));
  }

  /** Never rejects. */
  async #look(state: NameState): Promise<void> {
    if (!this.#isWanted(state)) return this.#forget(state);
    state.isLooking = true;
    let answer: NameAnswer | undefined;
    try {
      answer = await this.#lookups.look(state.name);
    } catch (error) {
      state.failure = messageOf(error);
    }
    state.isLooking = false;
    state.lookedUpAtMs = this.#options.clock.monotonic();
    if (answer !== undefined && this.#names.get(state.name) === state) this.#applySafely(state, answer);
    if (this.#names.get(state.name) === state) this.#schedule(state);
  }

  /**
   * Whether the name needs another look-up. A name without an address that may be dialled is looked up only while a
   * request waits for it.
   */
  #isWanted(state: NameState): boolean {
    if (state.waiters.size > 0) return true;
    const idleMs = this.#options.clock.monotonic() - state.usedAtMs;
    if (state.address !== undefined && idleMs < NAME_IDLE_MAX_MS) return true;
    return this.#isInUse(state.name);
  }

  /** Applies an answer. If that throws, the requests that wait for the name end, and the next look-up tries again. */
  #applySafely(state: NameState, answer: NameAnswer): void {
    try {
      this.#apply(state, answer);
    } catch (thrown) {
      state.failure = "the answer could not be judged";
      for (const waiter of state.waiters) waiter.reject(toInternalError(thrown));
    }
  }

  #apply(state: NameState, answer: NameAnswer): void {
    const { name, address: inUse } = state;
    const choice = chooseAddress(answer, { name, inUse, judge: this.#options.judge });
    if (typeof choice === "string") {
      state.failure = choice;
      return;
    }
    const { address, refusal, gone } = choice;
    state.address = address;
    state.refusal = refusal;
    state.knownAtMs = this.#options.clock.monotonic();
    this.#settle(state);
    if (gone !== undefined) this.#guard("onAddressGone", () => this.#options.onAddressGone(name, gone));
  }

  #settle({ waiters, address, refusal }: NameState): void {
    for (const waiter of waiters) {
      if (address === undefined) waiter.reject(unfit(refusal ?? ""));
      else waiter.resolve(address);
    }
  }

  /** Whether a name is in use. True if the callback fails. */
  #isInUse(name: string): boolean {
    return this.#guard("isInUse", () => this.#options.isInUse(name)) ?? true;
  }

  /** Runs a callback. If it throws, the look-ups of the name go on. */
  #guard<T>(which: string, call: () => T): T | undefined {
    try {
      return call();
    } catch (error) {
      this.#options.logger.error("a callback of the name resolver failed", { which, error: messageOf(error) });
      return undefined;
    }
  }
}

function unresolved(cause: string): IngressError {
  return new IngressError("upstream_unresolved", undefined, { cause });
}

/** The same refusal as for a sandbox with an unusable endpoint. */
function unfit(cause: string): IngressError {
  return new IngressError("sandbox_not_ready", "sandbox not ready: sandbox has no usable endpoint", { cause });
}
