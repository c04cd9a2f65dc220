import { parseAddress } from "../../address.ts";
import type { Clock, Timer } from "../../clock.ts";
import { IngressError } from "../../errors.ts";
import type { Logger } from "../../log/logger.ts";
import type { JudgeAddress } from "../../sandbox/projection/endpoint-rules.ts";
import type { LookupName, NameAnswer } from "./dns-lookup.ts";
import { LookupQueue } from "./lookup-queue.ts";

/**
 * Time from the end of a look-up of a name in use to its next one, in milliseconds. With `LOOKUP_MAX_MS` a changed address
 * is noticed after 3.5 s at the latest; what the cluster's DNS itself keeps comes on top.
 */
export const LOOKUP_INTERVAL_MS = 1_500;

/** The same while requests wait for a name that does not resolve yet: a fresh name appears within seconds. */
export const RETRY_INTERVAL_MS = 250;

/** A name that nobody asked for in so many milliseconds, and that no exchange uses, is not looked up any more. */
export const NAME_IDLE_MAX_MS = 60_000;

/**
 * How long an address is given out although look-ups fail or find nothing, in milliseconds. A restart of the cluster's DNS
 * takes less. Far longer, and the address of a pod that is gone could be another tenant's.
 */
export const ADDRESS_KEPT_MAX_MS = 60_000;

/** Names at a time: as many as requests by default, each one about 1 KiB. */
export const NAMES_MAX = 10_000;

/** Requests that wait for names at a time, and of them for one name at most as many as there is still room for. */
export const WAITERS_MAX = 10_000;

export interface NameResolverOptions {
  readonly clock: Clock;
  readonly lookup: LookupName;
  readonly judge: JudgeAddress;
  /** How long a request waits for a name that does not resolve, in milliseconds. */
  readonly connectTimeoutMs: number;
  /** Whether exchanges are open with what the name led to. Such a name is looked up however long nobody asks for it. */
  readonly isInUse: (name: string) => boolean;
  /** Called after an answer that lacks the address in use, or when that must not be dialled any more. */
  readonly onAddressGone: (name: string, address: string) => void;
  /** Hears of callbacks that throw. */
  readonly logger: Pick<Logger, "error">;
}

/** The addresses of names in use: looked up by us, judged like endpoints, and looked up again while they are in use. */
export interface NameResolver {
  /**
   * The canonical address to dial: at once where it is known, else as soon as the name resolves. An address in use stays
   * for as long as answers hold it. Never throws; the promise rejects with IngressError: `upstream_unresolved` after
   * `connectTimeoutMs` or where a limit is reached, `sandbox_not_ready` where no address may be dialled; or with the
   * signal's reason.
   */
  resolve(name: string, signal?: AbortSignal): string | Promise<string>;
  /** How much it holds now. */
  stats(): { readonly names: number; readonly waiting: number; readonly lookups: number };
  /** Looks nothing up any more; whoever waits is refused as `draining`. Idempotent. */
  stop(): void;
}

interface Waiter {
  readonly resolve: (address: string) => void;
  readonly reject: (reason: unknown) => void;
}

interface NameState {
  readonly name: string;
  readonly waiters: Set<Waiter>;
  /** In use; undefined: the name never resolved, or to nothing that may be dialled. */
  address: string | undefined;
  /** Why nothing that the name resolves to may be dialled; undefined: something may, or nothing is known. */
  refusal: string | undefined;
  /** When an answer last said so, in monotonic milliseconds. */
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

  /** Forgets the name that was not asked for the longest and that nobody uses; false: all are in use. */
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
      state.failure = error instanceof Error ? error.message : String(error);
    }
    state.isLooking = false;
    state.lookedUpAtMs = this.#options.clock.monotonic();
    if (answer !== undefined && this.#names.get(state.name) === state) this.#applySafely(state, answer);
    if (this.#names.get(state.name) === state) this.#schedule(state);
  }

  /** What never resolved, or to nothing that may be dialled, is not worth a look-up that nobody waits for. */
  #isWanted(state: NameState): boolean {
    if (state.waiters.size > 0) return true;
    const idleMs = this.#options.clock.monotonic() - state.usedAtMs;
    if (state.address !== undefined && idleMs < NAME_IDLE_MAX_MS) return true;
    return this.#isInUse(state.name);
  }

  /** What is thrown while an answer is judged ends those who wait for it; the next look-up tries again. */
  #applySafely(state: NameState, answer: NameAnswer): void {
    try {
      this.#apply(state, answer);
    } catch (thrown) {
      state.failure = "the answer could not be judged";
      for (const waiter of state.waiters) waiter.reject(new IngressError("internal", undefined, { cause: thrown }));
    }
  }

  #apply(state: NameState, answer: NameAnswer): void {
    const { address: old, name } = state;
    const { fit, unfit: reasons } = this.#judge(answer);
    if (fit.length + reasons.size === 0) {
      state.failure = "the name has no address";
      return;
    }
    const isGone = old !== undefined && (reasons.has(old) || (!fit.includes(old) && hasAnswered(answer, old)));
    if (old !== undefined && !fit.includes(old) && !isGone) {
      state.failure = "the family of the address in use could not be looked up";
      return;
    }
    const [bad] = reasons;
    state.address = old === undefined || isGone ? fit[0] : old;
    state.refusal = state.address === undefined && bad ? `${name} leads to ${bad[0]}, which ${bad[1]}` : undefined;
    state.knownAtMs = this.#options.clock.monotonic();
    this.#settle(state);
    if (!isGone) return;
    this.#guard("onAddressGone", () => this.#options.onAddressGone(name, old));
  }

  /** The addresses of an answer, canonical: those that may be dialled, and why the others may not. */
  #judge({ addresses }: NameAnswer): { readonly fit: readonly string[]; readonly unfit: ReadonlyMap<string, string> } {
    const fit: string[] = [];
    const reasons = new Map<string, string>();
    for (const text of addresses) {
      const address = parseAddress(text);
      if (address === undefined) continue;
      const reason = this.#options.judge(address);
      if (reason === undefined) fit.push(address);
      else reasons.set(address, reason);
    }
    return { fit, unfit: reasons };
  }

  #settle({ waiters, address, refusal }: NameState): void {
    for (const waiter of waiters) {
      if (address === undefined) waiter.reject(unfit(refusal ?? ""));
      else waiter.resolve(address);
    }
  }

  /** A name of which that cannot be told counts as in use. */
  #isInUse(name: string): boolean {
    return this.#guard("isInUse", () => this.#options.isInUse(name)) ?? true;
  }

  /** A callback that throws must not end the look-ups of a name. */
  #guard<T>(which: string, call: () => T): T | undefined {
    try {
      return call();
    } catch (error) {
      this.#options.logger.error("a callback of the name resolver failed", { which, error: String(error) });
      return undefined;
    }
  }
}

/** Whether an answer speaks of the family of an address. */
function hasAnswered({ unanswered }: NameAnswer, address: string): boolean {
  return unanswered !== (address.includes(":") ? 6 : 4);
}

function unresolved(cause: string): IngressError {
  return new IngressError("upstream_unresolved", undefined, { cause });
}

/** As a sandbox with an unfit endpoint is refused. */
function unfit(cause: string): IngressError {
  return new IngressError("sandbox_not_ready", "sandbox not ready: sandbox has no usable endpoint", { cause });
}
