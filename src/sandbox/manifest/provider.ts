import type { Clock } from "../../clock.ts";
import type { ProviderType } from "../provider.ts";
import type { Logger } from "../../log/logger.ts";
import { type PathSnapshot, type PathWatch, watchPath } from "../../files/watch-path.ts";
import type { EndpointRules } from "../projection/endpoint-rules.ts";
import { type ManifestEntry, ManifestFiles } from "./files.ts";
import { createPacer, type Pacer, type SlicedWork } from "../pacer.ts";
import { sandboxKindOf } from "../projection/kinds.ts";
import type {
  ChangeListener,
  GenerationEndListener,
  ProviderStatus,
  Resolution,
  SandboxCounts,
  SandboxProvider,
  SandboxRecord,
  SandboxView,
} from "../provider.ts";
import { resolveIn } from "../look-up.ts";
import { SandboxTable, type TableReplacement } from "../table.ts";
import { SyncLatch } from "../sync-latch.ts";

export interface ManifestProviderOptions {
  /** A file, or a folder. In a folder, the files `*.yaml`, `*.yml` and `*.json` directly in it are read. */
  readonly path: string;
  readonly providerType: ProviderType;
  /** Only these namespaces; empty: all. */
  readonly namespaces: readonly string[];
  readonly endpoints: EndpointRules;
  readonly logger: Logger;
  readonly clock: Clock;
}

/**
 * Maximum number of sandboxes in all manifests together: as many as a large cluster has. More is a mistake and would
 * fill the memory.
 */
const SANDBOXES_MAX = 200_000;

const MANIFEST_NAME = /^[^.].*\.(?:yaml|yml|json)$/;

/**
 * Creates a provider of the sandboxes in files of custom resources, to run without Kubernetes. The files are watched: a
 * change applies within a second of its last write. A file that is being written, or cannot be read, keeps its earlier
 * content. The provider is synced once the path exists and has been read, even if single files are invalid.
 */
export function createManifestProvider(options: ManifestProviderOptions): SandboxProvider {
  return new ManifestProvider(options);
}

class ManifestProvider implements SandboxProvider {
  readonly #options: ManifestProviderOptions;
  readonly #table: SandboxTable;
  readonly #files: ManifestFiles;
  readonly #synced: SyncLatch;
  readonly #pacer: Pacer;
  /**
   * `namespace/name` → the uid of an object whose manifest has none. It stays the same as long as the object exists.
   */
  #madeUids = new Map<string, string>();
  /** Conflicts between files, so that each is logged once while it lasts. */
  #conflicts = new Set<string>();
  #watch: PathWatch | undefined;
  #isStopped = false;
  #fault: string | undefined;

  constructor(options: ManifestProviderOptions) {
    this.#options = options;
    this.#table = new SandboxTable({ logger: options.logger, clock: options.clock });
    this.#synced = new SyncLatch(options.clock);
    this.#pacer = createPacer(options.clock);
    this.#files = new ManifestFiles({
      kind: sandboxKindOf(options.providerType),
      namespaces: options.namespaces,
      endpoints: options.endpoints,
      logger: options.logger,
      shareNamespace: (namespace) => this.#table.shareNamespace(namespace),
      pacer: this.#pacer,
    });
  }

  start(): Promise<void> {
    if (this.#isStopped || this.#watch !== undefined) return Promise.resolve();
    const { path, logger, clock } = this.#options;
    const accept = (name: string) => MANIFEST_NAME.test(name);
    this.#watch = watchPath(path, { onChange: (snapshot) => this.#apply(snapshot), logger, clock, accept });
    return Promise.resolve();
  }

  stop(): Promise<void> {
    this.#isStopped = true;
    this.#watch?.stop();
    return Promise.resolve();
  }

  resolve(sandboxId: string): Resolution {
    return resolveIn(this.#table, sandboxId, this.#options.providerType);
  }

  whenSynced(timeoutMs: number): Promise<boolean> {
    return this.#synced.wait(timeoutMs);
  }

  status(): ProviderStatus {
    return { synced: this.#synced.isSet, fault: this.#synced.isSet ? undefined : this.#fault, ageMs: 0 };
  }

  counts(): SandboxCounts {
    return this.#table.counts();
  }

  get view(): SandboxView {
    return this.#table;
  }

  namesakes(): number {
    return this.#table.namesakes();
  }

  onChange(listener: ChangeListener): void {
    this.#table.onChange(listener);
  }

  onGenerationEnd(listener: GenerationEndListener): void {
    this.#table.onGenerationEnd(listener);
  }

  async #apply(snapshot: PathSnapshot): Promise<void> {
    this.#noteFault(snapshot);
    if (snapshot.state === "unreadable") return;
    const isWhole = await this.#files.update(snapshot.files);
    if (this.#isStopped) return;
    const records = await this.#pacer.run(this.#assemble());
    const replacement = this.#table.beginReplace(undefined);
    await this.#pacer.run(addAll(replacement, records));
    if (this.#isStopped) return;
    replacement.commit();
    this.#options.logger.info("manifests read", { path: this.#options.path, sandboxes: records.length });
    if (snapshot.state !== "missing" && isWhole) this.#synced.set();
  }

  #noteFault(snapshot: PathSnapshot): void {
    const fault = describeFault(this.#options.path, snapshot);
    if (fault !== undefined && fault !== this.#fault) this.#options.logger.error(fault);
    this.#fault = fault;
  }

  /** The records of all files. If several have the same name or uid, the first one counts. */
  *#assemble(): SlicedWork<readonly SandboxRecord[]> {
    const byName = new Map<string, ManifestEntry>();
    const byUid = new Map<string, ManifestEntry>();
    const madeUids = new Map<string, string>();
    const conflicts = new Set<string>();
    const records: SandboxRecord[] = [];
    for (const entry of this.#files.entries()) {
      yield;
      const { record } = entry;
      const key = `${record.namespace}/${record.name}`;
      const namesake = byName.get(key);
      const twin = entry.lacksUid ? undefined : byUid.get(record.uid);
      if (records.length >= SANDBOXES_MAX) {
        conflicts.add(`more than ${SANDBOXES_MAX} sandboxes: ignored ${placeOf(entry)} and all that follow`);
        break;
      }
      if (namesake !== undefined) {
        conflicts.add(`ignored sandbox ${key} at ${placeOf(entry)}: it is already at ${placeOf(namesake)}`);
        continue;
      }
      if (twin !== undefined) {
        conflicts.add(`ignored sandbox ${key} at ${placeOf(entry)}: its uid is already at ${placeOf(twin)}`);
        continue;
      }
      byName.set(key, entry);
      if (entry.lacksUid) {
        const uid = this.#madeUids.get(key) ?? crypto.randomUUID();
        madeUids.set(key, uid);
        records.push({ ...record, uid });
      } else {
        byUid.set(record.uid, entry);
        records.push(record);
      }
    }
    for (const conflict of conflicts) if (!this.#conflicts.has(conflict)) this.#options.logger.error(conflict);
    this.#conflicts = conflicts;
    this.#madeUids = madeUids;
    return records;
  }
}

function* addAll(replacement: TableReplacement, records: Iterable<SandboxRecord>): SlicedWork<void> {
  for (const record of records) {
    replacement.add(record);
    yield;
  }
}

function placeOf(entry: ManifestEntry): string {
  return `${entry.path}:${entry.line}`;
}

function describeFault(path: string, snapshot: PathSnapshot): string | undefined {
  if (snapshot.state === "missing") return `Cannot read manifests: file or folder ${path} is missing`;
  return snapshot.state === "unreadable" ? `Cannot read manifests: ${snapshot.reason}` : undefined;
}
