import { type Clock, systemClock } from "../clock.ts";
import { type Logger, silentLogger } from "../log/logger.ts";
import { createNamesakes, type Namesakes } from "./namesakes.ts";
import { NameIndex } from "./name-index.ts";
import type { GenerationEndListener, Resolution, SandboxCounts, SandboxRecord, SandboxView } from "./provider.ts";

/** A replacement that is being put together, while the table goes on serving what it has. */
export interface TableReplacement {
  /** Adds a record; the last one of an object wins. Records outside the scope are left out, with one warning. */
  add(record: SandboxRecord): void;
  /** Forgets an object that was added; it need not be there. */
  remove(namespace: string, name: string): void;
  /**
   * Makes the records added the whole content of the scope, in one synchronous step. Changes made to the scope by
   * `set` and `remove` since the beginning are overwritten: one reader per scope, which lists and then watches.
   */
  commit(): void;
  /** Forgets the records added. Harmless after `commit`. */
  abort(): void;
}

/**
 * What is known of all sandboxes: name → record. All operations are synchronous, look-ups cost the same however many
 * there are. A name that occurs in several namespaces is ambiguous, and clear again as soon as one is left.
 */
export interface SandboxTable extends SandboxView {
  lookup(name: string): Resolution;
  /**
   * Looks several names of one sandbox up together. Where all that is found lies in one namespace, the first name in order
   * wins; else it is ambiguous: otherwise rights in one namespace would be enough to take over another's traffic.
   */
  lookupFirst(names: readonly string[]): Resolution;
  /** Adds the record of an object or replaces it. */
  set(record: SandboxRecord): void;
  /** Forgets an object; one that is not there is no fault. */
  remove(namespace: string, name: string): void;
  /** Makes `records` the whole content of a namespace, or of the table where `scope` is undefined, in one step. */
  replaceAll(scope: string | undefined, records: Iterable<SandboxRecord>): void;
  /** As `replaceAll`, with the records coming one after the other, page by page. */
  beginReplace(scope: string | undefined): TableReplacement;
  /** Each record counts once: as ambiguous where its name is, else by its readiness. Kept, not counted. */
  counts(): SandboxCounts;
  /** Pairs of sandboxes of different namespaces that one id can mean, noted since the start. Each is said in the log. */
  namesakes(): number;
  /**
   * Registers a listener for the end of generations: an object went, or its uid or endpoint changed. Not called for a
   * change of readiness, token or text. Called after the table has changed, with the record that is over.
   */
  onGenerationEnd(listener: GenerationEndListener): void;
  /** One copy of each namespace's name, for records to share. */
  shareNamespace(namespace: string): string;
}

/** Far more namespaces than clusters have; beyond it sharing starts anew, so that the pool stays bounded. */
const SHARED_NAMESPACES_MAX = 10_000;

/**
 * @param options `logger`: hears of listeners that throw, of records outside a scope, and of namesakes. Default: nobody does.
 */
export function createSandboxTable(options: { readonly logger?: Logger; readonly clock?: Clock } = {}): SandboxTable {
  const logger = options.logger ?? silentLogger;
  return new IndexedSandboxTable(logger, options.clock ?? systemClock);
}

const NOT_FOUND: Resolution = Object.freeze({ state: "not-found" });
const AMBIGUOUS: Resolution = Object.freeze({ state: "ambiguous" });

class IndexedSandboxTable implements SandboxTable {
  readonly #logger: Logger;
  readonly #listeners: GenerationEndListener[] = [];
  readonly #namespaces = new Map<string, string>();
  readonly #namesakes: Namesakes;
  readonly #clock: Clock;
  #index = new NameIndex();

  constructor(logger: Logger, clock: Clock) {
    this.#logger = logger;
    this.#clock = clock;
    this.#namesakes = createNamesakes(logger, clock);
  }

  lookup(name: string): Resolution {
    const slot = this.#index.get(name);
    if (slot === undefined) return NOT_FOUND;
    return "uid" in slot ? { state: "found", record: slot } : AMBIGUOUS;
  }

  lookupFirst(names: readonly string[]): Resolution {
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
    return first === undefined ? NOT_FOUND : { state: "found", record: first };
  }

  set(record: SandboxRecord): void {
    const previous = this.#put(this.#stamp(record));
    if (previous !== undefined && !isSameGeneration(previous, record)) this.#end([previous]);
  }

  remove(namespace: string, name: string): void {
    const gone = this.#index.delete(namespace, name);
    if (gone !== undefined) this.#end([gone]);
  }

  replaceAll(scope: string | undefined, records: Iterable<SandboxRecord>): void {
    const replacement = this.beginReplace(scope);
    for (const record of records) replacement.add(record);
    replacement.commit();
  }

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
        if (leftOut > 0)
          this.#logger.warn("sandboxes of other namespaces were left out", { namespace: scope, leftOut });
        this.#end(scope === undefined ? this.#swap(next) : this.#swapNamespace(scope, next));
      },
      abort: () => {
        staged = undefined;
      },
    };
  }

  counts(): SandboxCounts {
    return this.#index.counts();
  }

  namesakes(): number {
    return this.#namesakes.count();
  }

  records(): Iterable<SandboxRecord> {
    return this.#index.records();
  }

  find(namespace: string, name: string): SandboxRecord | undefined {
    return this.#index.find(namespace, name);
  }

  isAmbiguous(name: string): boolean {
    return this.lookup(name).state === "ambiguous";
  }

  onGenerationEnd(listener: GenerationEndListener): void {
    this.#listeners.push(listener);
  }

  shareNamespace(namespace: string): string {
    const shared = this.#namespaces.get(namespace);
    if (shared !== undefined) return shared;
    if (this.#namespaces.size >= SHARED_NAMESPACES_MAX) this.#namespaces.clear();
    this.#namespaces.set(namespace, namespace);
    return namespace;
  }

  /** Gives the generations that the swap ends. */
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
      for (const listener of this.#listeners) {
        try {
          listener(record);
        } catch (error) {
          this.#logger.error("a listener for the end of a sandbox failed", { name: record.name, error: String(error) });
        }
      }
    }
  }
}

function isSameState(a: SandboxRecord, b: SandboxRecord): boolean {
  return a.uid === b.uid && a.ready === b.ready && a.notReady === b.notReady;
}

/** Connections belong to the pair of uid and endpoint; the map form's endpoint is the whole map's text. */
function isSameGeneration(a: SandboxRecord, b: SandboxRecord): boolean {
  return a.uid === b.uid && a.endpoint === b.endpoint;
}
