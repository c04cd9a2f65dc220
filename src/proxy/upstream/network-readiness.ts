import type { IngressErrorCode } from "../../errors.ts";

/** The `--network-readiness-…` flags (docs/contract.md §9). */
export interface NetworkReadinessConfig {
  /** Milliseconds, above 0. */
  readonly windowMs: number;
  /** How many sandboxes are remembered. Further ones are not counted. */
  readonly maxTargets: number;
  readonly minAttempts: number;
  readonly minTargets: number;
  readonly minSignalTargets: number;
  /** Above 0, at most 1. */
  readonly failureRatio: number;
}

/** The window has this many parts. Data older than the window is forgotten at most one part late. */
const SLOTS = 6;

/** The results of the requests to one sandbox. */
interface Tally {
  attempts: number;
  /** Attempts that failed because of the network. */
  failures: number;
}

/** Failures that indicate a network problem. A refused connection does not: somebody answered. */
const NETWORK_FAILURES: ReadonlySet<IngressErrorCode> = new Set(["upstream_unreachable"]);

/** Failures that come after an attempt to connect. */
const ATTEMPTED: ReadonlySet<IngressErrorCode> = new Set([
  ...NETWORK_FAILURES,
  "upstream_refused",
  "upstream_reset",
  "upstream_protocol",
  "upstream_timeout",
]);

/** Judges from the results of requests whether this replica reaches sandboxes. It connects to nothing itself. */
export class NetworkReadiness {
  readonly #config: NetworkReadinessConfig;
  /** By the uid of the sandbox, the youngest last. */
  #slots: Map<string, Tally>[] = [new Map<string, Tally>()];
  #slotSince: number;

  constructor(config: NetworkReadinessConfig, nowMs: number) {
    this.#config = config;
    this.#slotSince = nowMs;
  }

  /**
   * A request to a sandbox ended. `isReached`: a connection was open, whatever happened then.
   * @param code Why it failed; undefined: it did not.
   */
  note(
    uid: string,
    { isReached, code }: { readonly isReached: boolean; readonly code: IngressErrorCode | undefined },
  ): void {
    if (!isReached && (code === undefined || !ATTEMPTED.has(code))) return;
    const slot = this.#slots.at(-1);
    if (slot === undefined) return;
    let tally = slot.get(uid);
    if (tally === undefined) {
      if (slot.size >= this.#config.maxTargets) return;
      tally = { attempts: 0, failures: 0 };
      slot.set(uid, tally);
    }
    tally.attempts++;
    if (!isReached && code !== undefined && NETWORK_FAILURES.has(code)) tally.failures++;
  }

  /** Forgets data older than the window. Called regularly, and before each judgement. */
  sweep(nowMs: number): void {
    const slotMs = this.#config.windowMs / SLOTS;
    const passed = Math.floor((nowMs - this.#slotSince) / slotMs);
    if (passed <= 0) return;
    this.#slotSince += passed * slotMs;
    for (let added = 0; added < Math.min(passed, SLOTS); added++) this.#slots.push(new Map());
    this.#slots = this.#slots.slice(-SLOTS);
  }

  isDegraded(nowMs: number): boolean {
    this.sweep(nowMs);
    const { minAttempts, minTargets, minSignalTargets, failureRatio } = this.#config;
    const targets = new Set<string>();
    const signals = new Set<string>();
    let attempts = 0;
    let failures = 0;
    for (const slot of this.#slots) {
      for (const [uid, tally] of slot) {
        targets.add(uid);
        if (tally.failures > 0) signals.add(uid);
        attempts += tally.attempts;
        failures += tally.failures;
      }
    }
    if (attempts < minAttempts || targets.size < minTargets || signals.size < minSignalTargets) return false;
    return failures / attempts >= failureRatio;
  }
}
