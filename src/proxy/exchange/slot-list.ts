/**
 * A collection of what comes and goes with every request.
 *
 * Not a `Set`: JavaScriptCore's keeps what was deleted reachable in the tables that it outgrew, until the old generation is
 * collected. Under load that was every request of the last tenth of a second, and a tenth of all processor time to mark them.
 */
export class Slots<T> implements Iterable<T> {
  readonly #items: (T | undefined)[] = [];
  readonly #free: number[] = [];

  /** How many items there are. */
  get size(): number {
    return this.#items.length - this.#free.length;
  }

  /** Adds an item, any number of times; gives the slot to `remove` it by. */
  add(item: T): number {
    const slot = this.#free.pop() ?? this.#items.length;
    this.#items[slot] = item;
    return slot;
  }

  /** Frees a slot, which the next `add` may give again: so only once for each `add`. */
  remove(slot: number): void {
    this.#items[slot] = undefined;
    this.#free.push(slot);
  }

  /** In no order. What is removed meanwhile is left out; what is added meanwhile may be. */
  *[Symbol.iterator](): Iterator<T> {
    for (const item of this.#items) if (item !== undefined) yield item;
  }
}
