import type { Clock, Timer } from "../../clock.ts";
import { IngressError } from "../../errors.ts";
import { endpointFor, type SandboxProvider, type SandboxRecord } from "../../sandbox/provider.ts";
import type { Exchange } from "../exchange/exchange.ts";
import { isFairRequest } from "../exchange/share.ts";
import type { UpstreamPool } from "../upstream/upstream.ts";
import { ReleaseRate } from "./release-rate.ts";

/** Part of all places that one sandbox may take: three others always find some. */
const PART_OF_ONE = 1 / 4;

/** The pause before another attempt after a refused connection, in milliseconds; doubles up to the longest. */
const RETRY_MIN_MS = 100;
const RETRY_MAX_MS = 1_000;
/** Doublings that reach the longest pause. */
const RETRY_DOUBLINGS_MAX = 4;

/** A request that waits. */
interface Waiting {
  readonly exchange: Exchange;
  readonly record: SandboxRecord;
  /** Lets it go on: it begins again at the top. */
  readonly goOn: () => void;
}

/** Requests that wait for one sandbox. */
interface Queue {
  /** In the order of arrival. */
  readonly waiting: Set<Waiting>;
  readonly rate: ReleaseRate;
  /** Places taken: by those that wait, and by those that pause before another attempt. */
  places: number;
  timer: Timer | undefined;
}

export interface HoldRoomOptions {
  /** `--hold-max`. */
  readonly placesMax: number;
  /** `--hold-release-rate`, in a second; 0: no limit. */
  readonly releaseRate: number;
}

export interface HoldRoomParts {
  readonly clock: Clock;
  readonly provider: SandboxProvider;
  readonly upstreams: UpstreamPool;
}

/**
 * Where requests wait for their sandboxes, unread. Each wait ends in one of two ways: the request's turn comes, and it begins
 * again at the top with what is known then; or its exchange is cut, and its place is free at once.
 */
export class HoldRoom {
  readonly #options: HoldRoomOptions;
  readonly #parts: HoldRoomParts;
  /** By the name of the sandbox's object: what is known of it changes with that. */
  readonly #queues = new Map<string, Queue>();
  /** Places taken by clients that are told apart, by their keys. */
  readonly #clients = new Map<string, number>();
  #places = 0;

  constructor(options: HoldRoomOptions, parts: HoldRoomParts) {
    this.#options = options;
    this.#parts = parts;
    parts.provider.onChange((name) => this.#onChange(name));
  }

  /** Requests that wait now. */
  get size(): number {
    return this.#places;
  }

  /** Requests that wait for a sandbox by this name. */
  sizeOf(name: string): number {
    return this.#queues.get(name)?.places ?? 0;
  }

  /**
   * Parks an exchange until its sandbox may be ready, or is another, or gone. Rejects with what cut it. Throws `hold_full`.
   * @param record What is known of the sandbox now: it is not ready.
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

  /** Cuts those that wait for the sandbox with this uid. */
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
    exchange.checkOpen();
    const queue = this.#take(record.name, exchange.client?.key);
    exchange.park();
    return new Promise((resolve, reject) => {
      const { signal } = exchange;
      const finish = (settle: () => void): void => {
        signal.removeEventListener("abort", abort);
        leave();
        this.#giveBack(record.name, { queue, client: exchange.client?.key });
        settle();
      };
      const abort = (): void => finish(() => reject(exchange.cutBy ?? new IngressError("client_closed")));
      const leave = enter(queue, () => finish(resolve));
      signal.addEventListener("abort", abort, { once: true });
      // A client that has left already cut it as it was parked.
      if (signal.aborted) abort();
    });
  }

  /** Takes a place. Throws `hold_full`. */
  #take(name: string, client: string | undefined): Queue {
    const { placesMax, releaseRate } = this.#options;
    const free = placesMax - this.#places;
    const known = this.#queues.get(name);
    const ofClient = client === undefined ? 0 : (this.#clients.get(client) ?? 0);
    const isFull = free <= 0 || (known?.places ?? 0) >= Math.ceil(placesMax * PART_OF_ONE);
    // A client with sandboxes of its own could else take the places of all.
    if (isFull || !isFairRequest(ofClient, free)) throw new IngressError("hold_full");
    const rate = new ReleaseRate(releaseRate, this.#parts.clock.monotonic());
    const queue = known ?? { waiting: new Set(), rate, places: 0, timer: undefined };
    this.#queues.set(name, queue);
    queue.places++;
    this.#places++;
    if (client !== undefined) this.#clients.set(client, ofClient + 1);
    return queue;
  }

  #giveBack(name: string, { queue, client }: { readonly queue: Queue; readonly client: string | undefined }): void {
    this.#places--;
    if (client !== undefined) {
      const left = (this.#clients.get(client) ?? 0) - 1;
      if (left > 0) this.#clients.set(client, left);
      else this.#clients.delete(client);
    }
    queue.places--;
    if (queue.places > 0) return;
    queue.timer?.cancel();
    this.#queues.delete(name);
  }

  #onChange(name: string | undefined): void {
    if (this.#places === 0) return;
    if (name === undefined) for (const queue of this.#queues.values()) this.#release(queue);
    else {
      const queue = this.#queues.get(name);
      if (queue !== undefined) this.#release(queue);
    }
  }

  /** Lets those go on whose wait is over, as many as the rate allows. */
  #release(queue: Queue): void {
    const { clock } = this.#parts;
    const now = clock.monotonic();
    queue.timer?.cancel();
    queue.timer = undefined;
    for (const waiting of queue.waiting) {
      const outlook = this.#outlookOf(waiting, now);
      if (outlook === "waits") continue;
      if (outlook === "ready" && !queue.rate.take(now)) {
        queue.timer = clock.setTimer(queue.rate.intervalMs, () => this.#release(queue));
        return;
      }
      waiting.goOn();
    }
  }

  /** What a request would find now. One that goes on waiting follows its sandbox. */
  #outlookOf({ exchange, record }: Waiting, nowMs: number): "waits" | "ready" | "changed" {
    const { provider, upstreams } = this.#parts;
    const { sandboxId, port } = exchange.subject.route;
    const resolution = provider.resolve(sandboxId);
    if (resolution.state !== "found" || resolution.record.uid !== record.uid) return "changed";
    const now = resolution.record;
    if (now.ready && endpointFor(now, port) !== undefined) return "ready";
    exchange.moveTo(upstreams.acquire(now, nowMs));
    if (exchange.patience !== undefined) exchange.patience.error = notReadyError(now);
    return "waits";
  }
}

/** What the client of a sandbox that is not ready is told. */
export function notReadyError({ notReady }: SandboxRecord): IngressError {
  return new IngressError("sandbox_not_ready", notReady === "" ? undefined : notReady);
}
