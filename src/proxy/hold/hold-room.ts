import type { Clock, Timer } from "../../clock.ts";
import { IngressError } from "../../errors.ts";
import { endpointFor, type SandboxProvider, type SandboxRecord } from "../../sandbox/provider.ts";
import type { Exchange } from "../exchange/exchange.ts";
import type { UpstreamPool } from "../upstream/upstream.ts";
import { Places } from "./places.ts";
import { ReleaseRate } from "./release-rate.ts";

/** Part of all places that one sandbox may take. Three other sandboxes always find places. */
const PART_OF_ONE = 1 / 4;

/**
 * Shortest time between two checks of the requests that wait for one sandbox, in milliseconds. A sandbox that changes
 * all the time must not keep the program busy.
 */
const LOOK_INTERVAL_MS = 50;

/** The pause before another attempt after a refused connection, in milliseconds. It doubles up to the longest pause. */
const RETRY_MIN_MS = 100;
const RETRY_MAX_MS = 1_000;
/** This many doublings reach the longest pause. */
const RETRY_DOUBLINGS_MAX = 4;

/** A request that waits. */
interface Waiting {
  readonly exchange: Exchange;
  readonly record: SandboxRecord;
  /** Lets the request go on: it starts again at the top of the handler. */
  readonly goOn: () => void;
}

/** Requests that wait for one sandbox. */
interface Queue {
  /** In the order of arrival. */
  readonly waiting: Set<Waiting>;
  readonly rate: ReleaseRate;
  /** Monotonic ms of the last check. */
  lookedAtMs: number;
  /** The next check. */
  next: { readonly atMs: number; readonly timer: Timer } | undefined;
}

export interface HoldRoomOptions {
  /** `--hold-max`. */
  readonly placesMax: number;
  /** `--hold-release-rate`, per second; 0: no limit. */
  readonly releaseRate: number;
}

export interface HoldRoomParts {
  readonly clock: Clock;
  readonly provider: SandboxProvider;
  readonly upstreams: UpstreamPool;
}

/**
 * Where requests wait for their sandboxes, unread. Each wait ends in one of two ways. Either the request's turn comes,
 * and it starts again at the top with what is known then. Or its exchange is cut, and its place is free at once.
 */
export class HoldRoom {
  readonly #options: HoldRoomOptions;
  readonly #parts: HoldRoomParts;
  /** Taken by those that wait, and by those that pause before another attempt. */
  readonly #places: Places;
  /** By the name of the sandbox's object, since changes are reported by that name. */
  readonly #queues = new Map<string, Queue>();

  constructor(options: HoldRoomOptions, parts: HoldRoomParts) {
    this.#options = options;
    this.#parts = parts;
    const { placesMax: max } = options;
    this.#places = new Places({ max, ofSandboxMax: Math.ceil(max * PART_OF_ONE) });
    parts.provider.onChange((name) => this.#onChange(name));
  }

  /** Requests that wait now. */
  get size(): number {
    return this.#places.size;
  }

  /** Requests that wait for a sandbox by this name. */
  sizeOf(name: string): number {
    return this.#places.sizeOf(name);
  }

  /** Whether a place is free for a sandbox by this name, if the client has not too many already. */
  hasPlace(name: string): boolean {
    return this.#places.hasPlace(name);
  }

  /**
   * Parks an exchange until its sandbox may be ready, was replaced or is gone. Rejects with the reason of a cut. Throws
   * `hold_full`.
   * @param record The current record of the sandbox, which is not ready.
   */
  untilReady(exchange: Exchange, record: SandboxRecord): Promise<void> {
    return this.#wait(exchange, record, (queue, goOn) => {
      const waiting = { exchange, record, goOn };
      queue.waiting.add(waiting);
      return () => queue.waiting.delete(waiting);
    });
  }

  /** Parks an exchange whose connection was refused, until another attempt is due. Rejects and throws as `untilReady` does. */
  untilNextAttempt(exchange: Exchange, record: SandboxRecord): Promise<void> {
    const refusals = exchange.patience?.refusals ?? 0;
    const pauseMs = Math.min(RETRY_MAX_MS, RETRY_MIN_MS * 2 ** Math.min(refusals - 1, RETRY_DOUBLINGS_MAX));
    return this.#wait(exchange, record, (_queue, goOn) => {
      const timer = this.#parts.clock.setTimer(pauseMs, goOn);
      return () => timer.cancel();
    });
  }

  /** Cuts the requests that wait for the sandbox with this uid. */
  fail({ name, uid }: SandboxRecord, error: IngressError): void {
    for (const { exchange } of this.#queues.get(name)?.waiting ?? []) {
      if (exchange.upstream.uid === uid) exchange.cut(error);
    }
  }

  #wait(
    exchange: Exchange,
    record: SandboxRecord,
    enter: (queue: Queue, goOn: () => void) => () => void,
  ): Promise<void> {
    const { name } = record;
    exchange.checkOpen();
    this.#places.take(exchange, name);
    const queue = this.#queueOf(name);
    exchange.park();
    return new Promise((resolve, reject) => {
      const { signal } = exchange;
      const finish = (settle: () => void): void => {
        signal.removeEventListener("abort", abort);
        leave();
        this.#places.giveBack(exchange, name);
        this.#endQueue(name, queue);
        settle();
      };
      const abort = (): void => finish(() => reject(exchange.cutBy ?? new IngressError("client_closed")));
      const leave = enter(queue, () => finish(resolve));
      signal.addEventListener("abort", abort, { once: true });
      // If the client had left already, parking has cut the exchange.
      if (signal.aborted) abort();
    });
  }

  #queueOf(name: string): Queue {
    const known = this.#queues.get(name);
    if (known !== undefined) return known;
    const rate = new ReleaseRate(this.#options.releaseRate, this.#parts.clock.monotonic());
    const queue: Queue = { waiting: new Set(), rate, lookedAtMs: Number.NEGATIVE_INFINITY, next: undefined };
    this.#queues.set(name, queue);
    return queue;
  }

  #endQueue(name: string, queue: Queue): void {
    if (this.#places.sizeOf(name) > 0) return;
    queue.next?.timer.cancel();
    this.#queues.delete(name);
  }

  #onChange(name: string | undefined): void {
    const queues = name === undefined ? this.#queues.values() : [this.#queues.get(name)];
    for (const queue of queues) if (queue !== undefined) this.#lookSoon(queue);
  }

  #lookSoon(queue: Queue): void {
    const waitMs = queue.lookedAtMs + LOOK_INTERVAL_MS - this.#parts.clock.monotonic();
    if (waitMs <= 0) this.#release(queue);
    else this.#releaseIn(queue, waitMs);
  }

  #releaseIn(queue: Queue, waitMs: number): void {
    const { clock } = this.#parts;
    const atMs = clock.monotonic() + waitMs;
    if (queue.next !== undefined && queue.next.atMs <= atMs) return;
    queue.next?.timer.cancel();
    queue.next = { atMs, timer: clock.setTimer(waitMs, () => this.#release(queue)) };
  }

  /** Lets requests go on whose wait is over, as many as the rate allows. */
  #release(queue: Queue): void {
    const now = this.#parts.clock.monotonic();
    queue.next?.timer.cancel();
    queue.next = undefined;
    queue.lookedAtMs = now;
    for (const waiting of queue.waiting) {
      const outlook = this.#outlookOf(waiting, now);
      if (outlook === "waits") continue;
      if (outlook === "ready" && !queue.rate.take(now)) return this.#releaseIn(queue, queue.rate.intervalMs);
      waiting.goOn();
    }
  }

  /** What a request would find now. A request that keeps waiting follows its sandbox. */
  #outlookOf({ exchange, record }: Waiting, nowMs: number): "waits" | "ready" | "changed" {
    const { provider, upstreams } = this.#parts;
    const { sandboxId, port } = exchange.subject.route;
    const resolution = provider.resolve(sandboxId);
    if (resolution.state !== "found") return "changed";
    const now = resolution.record;
    if (now.ready && endpointFor(now, port) !== undefined) return "ready";
    if (now.uid !== record.uid) return "changed";
    exchange.moveTo(upstreams.acquire(now, nowMs));
    if (exchange.patience !== undefined) exchange.patience.error = notReadyError(now);
    return "waits";
  }
}

/** The error for the client of a sandbox that is not ready. */
export function notReadyError({ notReady }: SandboxRecord): IngressError {
  return new IngressError("sandbox_not_ready", notReady === "" ? undefined : notReady);
}
