import type { Clock } from "../../clock.ts";
import { IngressError, toIngressError } from "../../errors.ts";
import type { ParkOutcome, ProxyMetrics } from "../../metrics/metrics.ts";
import type { SandboxProvider, SandboxRecord, SandboxWaker } from "../../sandbox/provider.ts";
import type { Exchange, Patience } from "../exchange/exchange.ts";
import { unreadBytesOf } from "../exchange/stalled-sizes.ts";
import { chooseForm } from "../report/refusal-form.ts";
import type { UpstreamPool } from "../upstream/upstream.ts";
import type { HoldConfig } from "./hold-config.ts";
import { HoldRoom, notReadyError } from "./hold-room.ts";
import { Places } from "./places.ts";
import { WakeDesk, type WakeRequest } from "./wake-desk.ts";

/**
 * The longest time that a browser's navigation waits, in milliseconds. After it the person sees the page with the
 * reason, which reloads itself.
 */
const NAVIGATION_MAX_MS = 2_000;

export interface HoldParts {
  readonly clock: Clock;
  readonly provider: SandboxProvider;
  readonly upstreams: UpstreamPool;
  readonly metrics: ProxyMetrics;
  /** Undefined: nothing wakes sandboxes. */
  readonly waker: SandboxWaker | undefined;
  /** Writes to the log. */
  warn(message: string): void;
}

/** What of a request decides how long it waits. */
export type AskingRequest = Pick<Request, "method" | "headers">;

/** What a request would wait for. */
export interface WaitForecast {
  /**
   * - `held`: until the sandbox is ready by itself
   * - `joins`: for a wake that has begun
   * - `wakes`: it would begin a wake
   */
  readonly kind: "held" | "joins" | "wakes";
  /** How long, in milliseconds. */
  readonly upToMs: number;
  /** Whether a person waits in front of a browser, who sees a page when the time is over. */
  readonly isNavigation: boolean;
  /** Why it would wake nobody now, though requests wake the sandbox. */
  readonly cause?: IngressError | undefined;
}

/** Decides what a request may wait for, and how long. */
export class Holds {
  readonly #config: HoldConfig;
  readonly #parts: HoldParts;
  readonly #room: HoldRoom;
  readonly #desk: WakeDesk | undefined;
  /** Taken by those that wait for a wake. */
  readonly #parked: Places;
  #isClosed = false;

  constructor(config: HoldConfig, parts: HoldParts) {
    this.#config = config;
    this.#parts = parts;
    this.#room = new HoldRoom({ placesMax: config.holdMax, releaseRate: config.holdReleaseRate }, parts);
    const { parkMax: max } = config.wake;
    this.#parked = new Places({ max, ofSandboxMax: max });
    const { waker } = parts;
    if (!config.wake.enabled || waker === undefined) return;
    this.#desk = new WakeDesk(config.wake, {
      ...parts,
      waker,
      isAwaited: ({ name }) => this.#parked.sizeOf(name) > 0,
      onFailed: (record, error) => this.#room.fail(record, error),
      warn: (message) => parts.warn(message),
    });
  }

  /** Requests that wait now, and sandboxes that are being woken. */
  counters(): { readonly held: number; readonly waking: number } {
    return { held: this.#room.size, waking: this.#desk?.size ?? 0 };
  }

  /** The same for one sandbox. */
  countersOf({ name, uid }: SandboxRecord): { readonly held: number; readonly isWaking: boolean } {
    return { held: this.#room.sizeOf(name), isWaking: this.#desk?.isWaking(uid) ?? false };
  }

  /**
   * How long a request may wait for a sandbox to become ready or for its port, in milliseconds; 0: it does not wait.
   */
  holdMsFor({ policy }: SandboxRecord): number {
    return this.#isClosed ? 0 : (policy?.holdMs ?? this.#config.holdMs);
  }

  /** Whether a request wakes a sandbox that is not ready. Its access has been checked already. */
  wakes(record: SandboxRecord, request: WakeRequest): boolean {
    return this.reasonAgainstWake(record, request) === undefined;
  }

  /** Why a request does not wake a sandbox that is not ready, for an operator; undefined: it does. */
  reasonAgainstWake(record: SandboxRecord, request: WakeRequest): string | undefined {
    if (this.#isClosed) return "the ingress is about to stop";
    return this.#desk === undefined ? "--wake-enabled is off" : this.#desk.reasonAgainst(record, request);
  }

  /**
   * What a request would wait for if its sandbox is not ready. Throws what it would be refused with. Changes nothing: it
   * wakes no sandbox and takes no place.
   */
  foresee(request: AskingRequest, record: SandboxRecord, options: { readonly wakes: boolean }): WaitForecast {
    const patience = this.patienceFor(request, record, options);
    if (patience === undefined) throw notReadyError(record);
    const { sinceMs, untilMs, isNavigation } = patience;
    const { name } = record;
    if (!this.#room.hasPlace(name) || (options.wakes && !this.#parked.hasPlace(name)))
      throw new IngressError("hold_full");
    const held = { kind: "held", upToMs: untilMs - sinceMs, isNavigation } as const;
    if (!options.wakes || this.#desk === undefined) return held;
    try {
      const wake = this.#desk.foresee(record);
      const upToMs = deadlineOf(patience, wake.untilMs) - sinceMs;
      return { kind: wake.isBegun ? "joins" : "wakes", upToMs, isNavigation };
    } catch (thrown) {
      const error = toIngressError(thrown);
      if (this.#mayWaitUnwoken(patience, error)) return { ...held, cause: error };
      throw error;
    }
  }

  /** How long a request may wait; undefined: it does not wait. */
  patienceFor(
    request: AskingRequest,
    record: SandboxRecord,
    options: { readonly wakes: boolean },
  ): Patience | undefined {
    const holdMs = this.holdMsFor(record);
    if (holdMs === 0 && !options.wakes) return undefined;
    const sinceMs = this.#parts.clock.monotonic();
    const isNavigation = request.method === "GET" && chooseForm(request) === "page";
    return {
      sinceMs,
      untilMs: sinceMs + (isNavigation ? Math.min(holdMs, NAVIGATION_MAX_MS) : holdMs),
      error: notReadyError(record),
      refusals: 0,
      isNavigation,
      body: undefined,
      rewind: undefined,
    };
  }

  /**
   * Parks an exchange until its sandbox may be ready. Resolves when the request may start again at the top. Rejects
   * with the reason of a cut. Throws IngressError if the exchange cannot wait; it may have cut the exchange then.
   */
  untilReady(exchange: Exchange, record: SandboxRecord, options: { readonly wakes: boolean }): Promise<void> {
    const { bodyLength } = exchange.subject;
    if (this.#isClosed) throw new IngressError("draining");
    if (bodyLength !== 0) exchange.checkRoom(unreadBytesOf(bodyLength));
    return options.wakes ? this.#untilAwake(exchange, record) : this.#room.untilReady(exchange, record);
  }

  /**
   * Parks an exchange whose connection was refused, until another attempt is due. Rejects with the reason of a cut or
   * with `refusal`.
   */
  async untilNextAttempt(exchange: Exchange, record: SandboxRecord, refusal: IngressError): Promise<void> {
    const { patience } = exchange;
    if (patience === undefined || this.#isClosed) throw refusal;
    patience.error = refusal;
    patience.refusals++;
    try {
      await this.#room.untilNextAttempt(exchange, record);
    } catch (thrown) {
      // No place is free, so the request ends with its refused connection.
      throw exchange.cutBy ?? (toIngressError(thrown).code === "hold_full" ? refusal : thrown);
    }
  }

  /** From now on no request may wait. The caller cuts those that wait. */
  close(): void {
    this.#isClosed = true;
  }

  sweep(nowMs: number): void {
    this.#desk?.sweep(nowMs);
  }

  #untilAwake(exchange: Exchange, record: SandboxRecord): Promise<void> {
    const { metrics, clock } = this.#parts;
    // The request takes its place first: nothing is woken for a request that cannot wait.
    const turn = this.#takePlace(exchange, record);
    if (!this.#joinWake(exchange, record)) {
      this.#parked.giveBack(exchange, record.name);
      return turn;
    }
    const parkedAtMs = clock.monotonic();
    metrics.parked();
    const leave = (outcome: ParkOutcome): void => {
      this.#parked.giveBack(exchange, record.name);
      metrics.unparked(outcome, clock.monotonic() - parkedAtMs);
    };
    return turn.then(
      () => leave(this.#isReady(record) ? "served" : "error"),
      (thrown: unknown) => {
        leave(parkOutcomeOf(toIngressError(thrown)));
        throw thrown;
      },
    );
  }

  #takePlace(exchange: Exchange, record: SandboxRecord): Promise<void> {
    try {
      this.#parked.take(exchange, record.name);
      return this.#room.untilReady(exchange, record);
    } catch (thrown) {
      this.#parked.giveBack(exchange, record.name);
      if (toIngressError(thrown).code === "hold_full") this.#parts.metrics.parkShed();
      throw thrown;
    }
  }

  /**
   * Returns whether the exchange waits for a wake from now on. If not, it was cut, or it waits only for whoever paused
   * the sandbox.
   */
  #joinWake(exchange: Exchange, record: SandboxRecord): boolean {
    const { patience } = exchange;
    if (this.#desk === undefined || patience === undefined || exchange.cutBy !== undefined) return false;
    try {
      patience.untilMs = deadlineOf(patience, this.#desk.join(record));
      return true;
    } catch (thrown) {
      const error = toIngressError(thrown);
      if (!this.#mayWaitUnwoken(patience, error)) exchange.cut(error);
      return false;
    }
  }

  /** If requests may wait anyway, whoever paused it so soon after its last wake may also wake it. */
  #mayWaitUnwoken(patience: Patience, { code }: IngressError): boolean {
    return code === "sandbox_not_ready" && patience.untilMs > this.#parts.clock.monotonic();
  }

  #isReady({ namespace, name }: SandboxRecord): boolean {
    return this.#parts.provider.view.find(namespace, name)?.ready === true;
  }
}

/** Until when a request waits for a wake whose budget ends at `untilMs`; monotonic ms. */
function deadlineOf(patience: Patience, untilMs: number): number {
  const mostMs = patience.isNavigation ? patience.sinceMs + NAVIGATION_MAX_MS : Number.POSITIVE_INFINITY;
  return Math.min(mostMs, Math.max(patience.untilMs, untilMs));
}

function parkOutcomeOf({ code }: IngressError): ParkOutcome {
  if (code === "client_closed") return "canceled";
  return code === "sandbox_not_ready" ? "budget_exhausted" : "error";
}
