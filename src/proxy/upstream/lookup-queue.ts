import type { Clock } from "../../clock.ts";
import type { LookupName, NameAnswer } from "./dns-lookup.ts";

/** Look-ups at a time. Each is two datagrams and a few KiB, and a cluster's DNS answers in about a millisecond. */
export const LOOKUPS_MAX = 64;

/**
 * Longest time for a look-up, in milliseconds. Together with the time between two look-ups of a name it stays below the
 * 5 s within which a changed address is noticed.
 */
export const LOOKUP_MAX_MS = 2_000;

interface QueuedLookup {
  readonly name: string;
  readonly namespace: string;
  readonly answer: PromiseWithResolvers<NameAnswer>;
}

/**
 * Limits look-ups in number and time. One namespace may run at most as many as there are free slots, so a tenant with
 * slow names leaves room for others. An abandoned look-up keeps its slot until it really ends, and its name is not
 * looked up again meanwhile. The queue holds one look-up for each name that the caller waits for.
 *
 * Namespaces take turns, and choosing the next one never walks through everything that waits. It skips at most as many
 * waiting look-ups as are running. So thousands of names of one tenant cost no more than their look-ups.
 */
export class LookupQueue {
  readonly #clock: Clock;
  readonly #lookup: LookupName;
  /** By namespace, in the order of their turns. */
  readonly #queues = new Map<string, Set<QueuedLookup>>();
  readonly #running = new Map<string, QueuedLookup>();
  readonly #runningOf = new Map<string, number>();

  constructor(options: { readonly clock: Clock; readonly lookup: LookupName }) {
    this.#clock = options.clock;
    this.#lookup = options.lookup;
  }

  /** Look-ups that hold a slot, including abandoned ones. */
  get running(): number {
    return this.#running.size;
  }

  /** Looks a name up when its turn comes. Rejects if the look-up fails or takes longer than `LOOKUP_MAX_MS`. */
  look(name: string): Promise<NameAnswer> {
    const queued = { name, namespace: namespaceOf(name), answer: Promise.withResolvers<NameAnswer>() };
    const queue = this.#queues.get(queued.namespace);
    if (queue === undefined) this.#queues.set(queued.namespace, new Set([queued]));
    else queue.add(queued);
    this.#startNext();
    return queued.answer.promise;
  }

  #startNext(): void {
    for (const [namespace, queue] of this.#queues) {
      const free = LOOKUPS_MAX - this.#running.size;
      if (free === 0) return;
      if (this.#countOf(namespace) >= free) continue;
      const next = this.#firstIdle(queue);
      if (next === undefined) continue;
      queue.delete(next);
      // Its next turn comes after all others. The loop reaches it there.
      this.#queues.delete(namespace);
      if (queue.size > 0) this.#queues.set(namespace, queue);
      void this.#start(next);
    }
  }

  /** The first whose name is not being looked up. */
  #firstIdle(queue: ReadonlySet<QueuedLookup>): QueuedLookup | undefined {
    for (const queued of queue) if (!this.#running.has(queued.name)) return queued;
    return undefined;
  }

  /** Never rejects. */
  async #start(queued: QueuedLookup): Promise<void> {
    const { name, namespace, answer } = queued;
    this.#running.set(name, queued);
    this.#runningOf.set(namespace, this.#countOf(namespace) + 1);
    const timer = this.#clock.setTimer(LOOKUP_MAX_MS, () =>
      answer.reject(new Error(`no answer for ${LOOKUP_MAX_MS} ms`)),
    );
    try {
      answer.resolve(await this.#lookup(name));
    } catch (error) {
      answer.reject(error);
    }
    timer.cancel();
    this.#running.delete(name);
    const left = this.#countOf(namespace) - 1;
    if (left === 0) this.#runningOf.delete(namespace);
    else this.#runningOf.set(namespace, left);
    this.#startNext();
  }

  #countOf(namespace: string): number {
    return this.#runningOf.get(namespace) ?? 0;
  }
}

/** The namespace in `<service>.<namespace>.svc…`. */
function namespaceOf(name: string): string {
  return name.split(".", 2)[1] ?? "";
}
