/**
 * A collection whose items come and go with every request.
 *
 * It is not a `Set`: the one of JavaScriptCore keeps deleted items reachable in tables that it has outgrown, until the
 * old generation is collected. Under load that kept every request of the last tenth of a second alive, and marking them
 * took a tenth of all processor time.
 */
export class Slots<T> implements Iterable<T> {
  readonly #items: (T | undefined)[] = [];
  readonly #free: number[] = [];

  /** How many items there are. */
  get size(): number {
    return this.#items.length - this.#free.length;
  }

  /** Adds an item, even if it is there already. Returns the slot for `remove`. */
  add(item: T): number {
    const slot = this.#free.pop() ?? this.#items.length;
    this.#items[slot] = item;
    return slot;
  }

  /** Frees a slot. The next `add` may use it again, so call this only once for each `add`. */
  remove(slot: number): void {
    this.#items[slot] = undefined;
    this.#free.push(slot);
  }

  /** Iterates in no order. Items that are removed meanwhile are left out; items that are added meanwhile may appear. */
  *[Symbol.iterator](): Iterator<T> {
    for (const item of this.#items) if (item !== undefined) yield item;
  }
}
