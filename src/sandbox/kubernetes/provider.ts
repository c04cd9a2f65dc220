import { systemClock, type Clock } from "../../clock.ts";
import type { ProviderType } from "../provider.ts";
import type { KubeClient } from "../../kube/client.ts";
import type { ReflectorLimits } from "../../kube/reflector-limits.ts";
import { Reflector } from "../../kube/reflector.ts";
import type { ReflectorStore } from "../../kube/reflector-store.ts";
import type { KubeObject } from "../../kube/resource.ts";
import { WatchCounts } from "../../kube/watch-counts.ts";
import type { Logger } from "../../log/logger.ts";
import { sandboxResourceOf } from "./resources.ts";
import type { EndpointRules } from "../projection/endpoint-rules.ts";
import { createObjectWarnings } from "../projection/object-warnings.ts";
import type { Projection, ProjectOptions } from "../projection/projection.ts";
import type {
  ChangeListener,
  GenerationEndListener,
  ProviderStatus,
  Resolution,
  SandboxCounts,
  SandboxProvider,
  SandboxView,
  WatchActivity,
} from "../provider.ts";
import { resolveIn } from "../look-up.ts";
import { SandboxTable } from "../table.ts";
import { SyncLatch } from "../sync-latch.ts";

export interface KubernetesProviderOptions {
  readonly client: KubeClient;
  readonly providerType: ProviderType;
  /** At least one, unless `allNamespaces`. */
  readonly namespaces: readonly string[];
  /** One list and watch for the whole cluster; `namespaces` is ignored. */
  readonly allNamespaces: boolean;
  readonly endpoints: EndpointRules;
  readonly logger: Logger;
  readonly clock?: Clock;
  /** In [0, 1), for jitter. */
  readonly random?: () => number;
  readonly limits?: Partial<ReflectorLimits>;
}

/** How many faults of different namespaces are shown: they must fit into one line. */
const FAULTS_TOLD_MAX = 3;

/** Creates a provider of the sandboxes that an API server has. */
export function createKubernetesProvider(options: KubernetesProviderOptions): SandboxProvider {
  return new KubernetesProvider(options);
}

class KubernetesProvider implements SandboxProvider {
  readonly #options: KubernetesProviderOptions;
  readonly #clock: Clock;
  readonly #table: SandboxTable;
  readonly #reflectors: readonly Reflector[];
  readonly #synced: SyncLatch;
  readonly #createdAtMs: number;
  readonly #watchCounts = new WatchCounts();
  #unsynced: number;

  constructor(options: KubernetesProviderOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#synced = new SyncLatch(this.#clock);
    this.#createdAtMs = this.#clock.monotonic();
    this.#table = new SandboxTable({ logger: options.logger, clock: this.#clock });
    const scopes = options.allNamespaces ? [undefined] : [...new Set(options.namespaces)];
    if (scopes.length === 0) throw new Error("Cannot watch sandboxes: namespaces are missing");
    this.#unsynced = scopes.length;
    this.#reflectors = this.#createReflectors(scopes);
  }

  start(): Promise<void> {
    for (const reflector of this.#reflectors) reflector.start();
    return Promise.resolve();
  }

  async stop(): Promise<void> {
    await Promise.all(this.#reflectors.map((reflector) => reflector.stop()));
  }

  resolve(sandboxId: string): Resolution {
    return resolveIn(this.#table, sandboxId, this.#options.providerType);
  }

  whenSynced(timeoutMs: number): Promise<boolean> {
    return this.#synced.wait(timeoutMs);
  }

  status(): ProviderStatus {
    const nowMs = this.#clock.monotonic();
    const all = this.#reflectors.map((reflector) => reflector.status());
    const faults = all.map(({ fault }) => fault).filter((fault) => fault !== undefined);
    const more = faults.length > FAULTS_TOLD_MAX ? [`and ${faults.length - FAULTS_TOLD_MAX} more`] : [];
    return {
      synced: this.#synced.isSet,
      fault: faults.length === 0 ? undefined : [...faults.slice(0, FAULTS_TOLD_MAX), ...more].join("; "),
      // The table is as old as its oldest part.
      ageMs: Math.max(...all.map(({ confirmedAtMs }) => nowMs - (confirmedAtMs ?? this.#createdAtMs))),
    };
  }

  counts(): SandboxCounts {
    return this.#table.counts();
  }

  watching(): WatchActivity {
    return this.#watchCounts;
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

  #createReflectors(scopes: readonly (string | undefined)[]): readonly Reflector[] {
    const { client, providerType, logger, random, limits } = this.#options;
    const { group, plural, project, findVersion } = sandboxResourceOf(providerType, client, { clock: this.#clock });
    const projectOptions: ProjectOptions = {
      endpoints: this.#options.endpoints,
      shareNamespace: (namespace) => this.#table.shareNamespace(namespace),
    };
    const warnings = createObjectWarnings(logger, this.#clock);
    const read = (object: KubeObject): Projection => {
      const projection = project(object, projectOptions);
      warnings.report(`${plural} ${String(object.metadata.namespace)}/${object.metadata.name}`, projection.warning);
      return projection;
    };
    return scopes.map(
      (namespace) =>
        new Reflector({
          client,
          resource: { group, plural, namespace },
          findVersion,
          store: createTableStore(this.#table, { namespace, read }),
          logger,
          onSynced: () => this.#onSynced(),
          counts: this.#watchCounts,
          clock: this.#clock,
          ...(random !== undefined && { random }),
          ...(limits !== undefined && { limits }),
        }),
    );
  }

  #onSynced(): void {
    this.#unsynced -= 1;
    if (this.#unsynced > 0) return;
    const { ready, notReady, ambiguous } = this.#table.counts();
    this.#options.logger.info("Kubernetes: synced", { ready, notReady, ambiguous });
    this.#synced.set();
  }
}

interface TableStoreOptions {
  readonly namespace: string | undefined;
  readonly read: (object: KubeObject) => Projection;
}

/** The table as a reflector sees it: objects become records before they enter it. */
function createTableStore(table: SandboxTable, { namespace, read }: TableStoreOptions): ReflectorStore {
  const remove = ({ metadata }: KubeObject) => {
    if (typeof metadata.namespace === "string") table.remove(metadata.namespace, metadata.name);
  };
  return {
    beginReplace() {
      const replacement = table.beginReplace(namespace);
      const drop = ({ metadata }: KubeObject) => {
        if (typeof metadata.namespace === "string") replacement.remove(metadata.namespace, metadata.name);
      };
      return {
        add(object) {
          const { record } = read(object);
          // The earlier record is out of date, and nothing is known now.
          if (record === undefined) drop(object);
          else replacement.add(record);
        },
        remove: drop,
        commit: () => replacement.commit(),
        abort: () => replacement.abort(),
      };
    },
    set(object) {
      const { record } = read(object);
      // The earlier record is out of date, and nothing is known now.
      if (record === undefined) remove(object);
      else table.set(record);
    },
    remove,
  };
}
