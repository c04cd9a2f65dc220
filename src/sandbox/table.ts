import { type Clock, systemClock } from "../clock.ts";
import { type Logger, silentLogger } from "../log/logger.ts";
import { createNamesakes, type Namesakes } from "./namesakes.ts";
import { NameIndex } from "./name-index.ts";
import type {
  ChangeListener,
  GenerationEndListener,
  Resolution,
  SandboxCounts,
  SandboxRecord,
  SandboxView,
} from "./provider.ts";

/** A replacement that is being prepared while the table keeps serving its content. */
export interface TableReplacement {
  /** Adds a record. The last record of an object wins. Records outside the scope are left out, with one warning. */
  add(record: SandboxRecord): void;
  /** Removes an object that was added; does nothing if it was not. */
  remove(namespace: string, name: string): void;
  /**
   * Makes the added records the whole content of the scope, in one synchronous step. Changes by `set` and `remove`
   * since the beginning are overwritten: each scope has one reader, which lists first and watches then.
   */
  commit(): void;
  /** Discards the added records. Harmless after `commit`. */
  abort(): void;
}

/** Far more namespaces than clusters have. Above it sharing starts again, so that the pool stays bounded. */
const SHARED_NAMESPACES_MAX = 10_000;

const NOT_FOUND: Resolution = Object.freeze({ state: "not-found" });
const AMBIGUOUS: Resolution = Object.freeze({ state: "ambiguous" });

/**
 * What is known of all sandboxes: name → record. All operations are synchronous. A look-up costs the same for any
 * number of sandboxes. A name that occurs in several namespaces is ambiguous until only one is left.
 */
export class SandboxTable implements SandboxView {
  readonly #logger: Logger;
  readonly #listeners: GenerationEndListener[] = [];
  readonly #changeListeners: ChangeListener[] = [];
  readonly #namespaces = new Map<string, string>();
  readonly #namesakes: Namesakes;
  readonly #clock: Clock;
  #index = new NameIndex();

  /** @param options `logger`: gets listeners that throw, records outside a scope, and namesakes. Default: silent. */
  constructor(options: { readonly logger?: Logger; readonly clock?: Clock } = {}) {
    this.#logger = options.logger ?? silentLogger;
    this.#clock = options.clock ?? systemClock;
    this.#namesakes = createNamesakes(this.#logger, this.#clock);
  }

  lookup(name: string): Resolution {
    const slot = this.#index.get(name);
    if (slot === undefined) return NOT_FOUND;
    return "uid" in slot ? { state: "found", record: slot } : AMBIGUOUS;
  }

  /**
   * Looks up several names of one sandbox together. If all results are in one namespace, the first name in order wins;
   * else the id is ambiguous. Otherwise rights in one namespace would be enough to take over another's traffic.
   *
   * `claim` is the last candidate, by the same rule: the sandbox that this claim adopted. Several of one claim are ambiguous.
   */
  lookupFirst(names: readonly string[], claim?: string): Resolution {
    let first: SandboxRecord | undefined;
    for (const name of names) {
      const resolution = this.lookup(name);
      if (resolution.state === "ambiguous") return resolution;
      if (resolution.state === "not-found") continue;
      const { record } = resolution;
      if (first !== undefined && record.namespace !== first.namespace) {
        this.#namesakes.note(first, record);
        return AMBIGUOUS;
      }
      first ??= record;
    }
    return this.#addClaimed(first, claim === undefined ? [] : this.#index.getClaimed(claim));
  }

  #addClaimed(first: SandboxRecord | undefined, claimed: readonly SandboxRecord[]): Resolution {
    const found = first ?? claimed[0];
    if (found === undefined) return NOT_FOUND;
    const other = claimed.find(({ namespace }) => namespace !== found.namespace);
    if (other !== undefined) this.#namesakes.note(found, other);
    // Of two that say they are the same claim's, nobody knows which it is.
    const isAmbiguous = other !== undefined || (first === undefined && claimed.length > 1);
    return isAmbiguous ? AMBIGUOUS : { state: "found", record: found };
  }

  /** Adds or replaces the record of an object. */
  set(record: SandboxRecord): void {
    const previous = this.#put(this.#stamp(record));
    if (previous !== undefined && !isSameGeneration(previous, record)) this.#end([previous]);
    this.#tellChange(record.name);
  }

  /** Removes an object; does nothing if it is missing. */
  remove(namespace: string, name: string): void {
    const gone = this.#index.delete(namespace, name);
    if (gone === undefined) return;
    this.#end([gone]);
    this.#tellChange(name);
  }

  /** Makes `records` the whole content of a namespace, or of the table if `scope` is undefined, in one step. */
  replaceAll(scope: string | undefined, records: Iterable<SandboxRecord>): void {
    const replacement = this.beginReplace(scope);
    for (const record of records) replacement.add(record);
    replacement.commit();
  }

  /** As `replaceAll`, with records that arrive one by one, page by page. */
  beginReplace(scope: string | undefined): TableReplacement {
    let staged: NameIndex | undefined = new NameIndex();
    let leftOut = 0;
    return {
      add: (record) => {
        if (staged === undefined) throw new Error("Cannot add a record: the replacement is over");
        if (scope === undefined || record.namespace === scope) staged.put(this.#stamp(record));
        else leftOut += 1;
      },
      remove: (namespace, name) => {
        if (staged === undefined) throw new Error("Cannot remove a record: the replacement is over");
        staged.delete(namespace, name);
      },
      commit: () => {
        if (staged === undefined) throw new Error("Cannot commit: the replacement is over");
        const next = staged;
        staged = undefined;
        if (leftOut > 0) this.#logger.warn("ignored sandboxes outside the namespace", { namespace: scope, leftOut });
        this.#end(scope === undefined ? this.#swap(next) : this.#swapNamespace(scope, next));
        this.#tellChange(undefined);
      },
      abort: () => {
        staged = undefined;
      },
    };
  }

  /** Each record counts once: as ambiguous if its name is ambiguous, else by its readiness. O(1). */
  counts(): SandboxCounts {
    return this.#index.counts();
  }

  /** Pairs of sandboxes of different namespaces that share an id, found since the start. Each is logged. */
  namesakes(): number {
    return this.#namesakes.count();
  }

  /** All current records, in no particular order. */
  records(): Iterable<SandboxRecord> {
    return this.#index.records();
  }

  find(namespace: string, name: string): SandboxRecord | undefined {
    return this.#index.find(namespace, name);
  }

  isAmbiguous(name: string): boolean {
    return this.lookup(name).state === "ambiguous";
  }

  /**
   * Registers a listener for the end of generations: the object is deleted, or its uid or endpoint changes. Changes of
   * readiness, token or text do not call it. It is called after the table has changed, with the record that ended.
   */
  onGenerationEnd(listener: GenerationEndListener): void {
    this.#listeners.push(listener);
  }

  /** Registers a listener for every change, called after those for the end of generations. */
  onChange(listener: ChangeListener): void {
    this.#changeListeners.push(listener);
  }

  /** One copy of each namespace's name, for records to share. */
  shareNamespace(namespace: string): string {
    const shared = this.#namespaces.get(namespace);
    if (shared !== undefined) return shared;
    if (this.#namespaces.size >= SHARED_NAMESPACES_MAX) this.#namespaces.clear();
    this.#namespaces.set(namespace, namespace);
    return namespace;
  }

  /** Returns the generations that the swap ends. */
  #swap(next: NameIndex): readonly SandboxRecord[] {
    const old = this.#index;
    this.#index = next;
    for (const [one, other] of next.namesakes()) this.#namesakes.note(one, other);
    const ended: SandboxRecord[] = [];
    for (const record of old.records()) {
      const successor = next.find(record.namespace, record.name);
      if (successor === undefined || !isSameGeneration(record, successor)) ended.push(record);
    }
    return ended;
  }

  #swapNamespace(namespace: string, next: NameIndex): readonly SandboxRecord[] {
    const ended: SandboxRecord[] = [];
    for (const record of this.#index.records()) {
      if (record.namespace !== namespace) continue;
      const successor = next.find(namespace, record.name);
      if (successor === undefined) this.#index.delete(namespace, record.name);
      if (successor === undefined || !isSameGeneration(record, successor)) ended.push(record);
    }
    for (const record of next.records()) this.#put(record);
    return ended;
  }

  /** The record with the time since which it has been so. */
  #stamp(record: SandboxRecord): SandboxRecord {
    const known = this.#index.find(record.namespace, record.name);
    const isSame = known !== undefined && isSameState(known, record);
    return { ...record, sinceMs: isSame ? known.sinceMs : this.#clock.now() };
  }

  #put(record: SandboxRecord): SandboxRecord | undefined {
    const previous = this.#index.put(record);
    const namesake = this.#index.findNamesake(record);
    if (namesake !== undefined) this.#namesakes.note(namesake, record);
    return previous;
  }

  #end(records: readonly SandboxRecord[]): void {
    for (const record of records) {
      for (const listener of this.#listeners) this.#guard("the end of a sandbox", record.name, () => listener(record));
    }
  }

  #tellChange(name: string | undefined): void {
    for (const listener of this.#changeListeners) this.#guard("a change of sandboxes", name, () => listener(name));
  }

  /** What one listener throws keeps nothing from the others. */
  #guard(what: string, name: string | undefined, call: () => void): void {
    try {
      call();
    } catch (error) {
      this.#logger.error(`a listener for ${what} failed`, { name, error: String(error) });
    }
  }
}

function isSameState(a: SandboxRecord, b: SandboxRecord): boolean {
  return a.uid === b.uid && a.ready === b.ready && a.notReady === b.notReady;
}

/** A connection belongs to the pair of uid and endpoint. For the map form the endpoint is the text of the whole map. */
function isSameGeneration(a: SandboxRecord, b: SandboxRecord): boolean {
  return a.uid === b.uid && a.endpoint === b.endpoint;
}
