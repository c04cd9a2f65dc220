import { ClaimIndex } from "./claim-index.ts";
import type { SandboxCounts, SandboxRecord } from "./provider.ts";

/** One record, or several of the same name in as many namespaces. An array never has fewer than two. */
type Slot = SandboxRecord | readonly SandboxRecord[];

/** A slot is an array if the name is ambiguous. `Array.isArray` does not narrow readonly arrays. */
function isMany(slot: Slot): slot is readonly SandboxRecord[] {
  return Array.isArray(slot);
}

/**
 * Name → record or records. Counts are kept up to date with each change. A sandbox costs one map entry and one record,
 * since a cluster can have 100,000 of them.
 */
export class NameIndex {
  readonly #slots = new Map<string, Slot>();
  readonly #claims = new ClaimIndex();
  #ready = 0;
  #notReady = 0;
  #ambiguous = 0;

  /** The record or records with this name, in no particular order. */
  get(name: string): Slot | undefined {
    return this.#slots.get(name);
  }

  /** The records that a claim adopted, in no particular order. */
  getClaimed(claim: string): readonly SandboxRecord[] {
    return this.#claims.get(claim);
  }

  /** The record of exactly this object. */
  find(namespace: string, name: string): SandboxRecord | undefined {
    const slot = this.#slots.get(name);
    if (slot === undefined) return undefined;
    if (isMany(slot)) return slot.find((record) => record.namespace === namespace);
    return slot.namespace === namespace ? slot : undefined;
  }

  /** Adds a record. Returns the record that it replaces. */
  put(record: SandboxRecord): SandboxRecord | undefined {
    const slot = this.#slots.get(record.name);
    const previous = this.find(record.namespace, record.name);
    if (slot === undefined || slot === previous) {
      this.#change(record.name, slot, record);
    } else {
      const others = isMany(slot) ? slot.filter((other) => other !== previous) : [slot];
      this.#change(record.name, slot, [...others, record]);
    }
    if (previous !== undefined) this.#claims.remove(previous);
    this.#claims.add(record);
    return previous;
  }

  /** A record of the same name in another namespace. */
  findNamesake({ name, namespace }: SandboxRecord): SandboxRecord | undefined {
    const slot = this.#slots.get(name);
    return slot !== undefined && isMany(slot) ? slot.find((other) => other.namespace !== namespace) : undefined;
  }

  /** The first two records of each name that is ambiguous. */
  *namesakes(): Generator<readonly [SandboxRecord, SandboxRecord], void, undefined> {
    if (this.#ambiguous === 0) return;
    for (const slot of this.#slots.values()) {
      const [one, other] = isMany(slot) ? slot : [];
      if (one !== undefined && other !== undefined) yield [one, other];
    }
  }

  /** Removes a record and returns it; undefined if there is none. */
  delete(namespace: string, name: string): SandboxRecord | undefined {
    const slot = this.#slots.get(name);
    const gone = this.find(namespace, name);
    if (slot === undefined || gone === undefined) return undefined;
    const rest = isMany(slot) ? slot.filter((record) => record !== gone) : [];
    this.#change(name, slot, rest.length > 1 ? rest : rest[0]);
    this.#claims.remove(gone);
    return gone;
  }

  /** Every record. The index may lose the current one during the iteration. */
  *records(): Generator<SandboxRecord, void, undefined> {
    for (const slot of this.#slots.values()) {
      if (isMany(slot)) yield* slot;
      else yield slot;
    }
  }

  /** Each record counts once: as ambiguous if its name is ambiguous, else by its readiness. */
  counts(): SandboxCounts {
    return { ready: this.#ready, notReady: this.#notReady, ambiguous: this.#ambiguous };
  }

  #change(name: string, from: Slot | undefined, to: Slot | undefined): void {
    this.#count(from, -1);
    this.#count(to, 1);
    if (to === undefined) this.#slots.delete(name);
    else this.#slots.set(name, to);
  }

  #count(slot: Slot | undefined, sign: 1 | -1): void {
    if (slot === undefined) return;
    if (isMany(slot)) this.#ambiguous += sign * slot.length;
    else if (slot.ready) this.#ready += sign;
    else this.#notReady += sign;
  }
}
