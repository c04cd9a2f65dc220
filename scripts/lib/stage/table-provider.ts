import { systemClock } from "../../../src/clock.ts";
import type { ProviderType } from "../../../src/sandbox/provider.ts";
import type { ProviderStatus, SandboxProvider, SandboxRecord } from "../../../src/sandbox/provider.ts";
import { resolveIn } from "../../../src/sandbox/look-up.ts";
import { SandboxTable } from "../../../src/sandbox/table.ts";
import { SyncLatch } from "../../../src/sandbox/sync-latch.ts";
import { sandboxRecord } from "./sandbox-objects.ts";

/** A provider whose records the test sets: for states that no real source produces on demand. */
export interface TableProvider extends SandboxProvider {
  readonly table: SandboxTable;
  /** Adds or replaces a sandbox. By default it is open and ready on 127.0.0.1. */
  set(record: Partial<SandboxRecord> & { readonly name: string }): void;
  /** Changes its status and wakes those who wait for the sync. */
  setStatus(status: Partial<ProviderStatus>): void;
}

export function createTableProvider(options: { providerType?: ProviderType; synced?: boolean } = {}): TableProvider {
  const table = new SandboxTable();
  let status: ProviderStatus = { synced: options.synced ?? true, fault: undefined, ageMs: 0 };
  const synced = new SyncLatch(systemClock);
  if (status.synced) synced.set();
  return {
    table,
    set: (record) =>
      table.set(sandboxRecord({ namespace: "default", uid: `uid-${record.name}`, endpoint: "127.0.0.1", ...record })),
    setStatus(change) {
      status = { ...status, ...change };
      if (status.synced) synced.set();
    },
    start: () => Promise.resolve(),
    stop: () => Promise.resolve(),
    resolve: (id) => resolveIn(table, id, options.providerType ?? "batchsandbox"),
    whenSynced: (timeoutMs) => synced.wait(timeoutMs),
    status: () => status,
    counts: () => table.counts(),
    view: table,
    namesakes: () => table.namesakes(),
    onChange: (listener) => table.onChange(listener),
    onGenerationEnd: (listener) => table.onGenerationEnd(listener),
  };
}
