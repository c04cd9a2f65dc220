import type { SandboxTraffic } from "../proxy/inspection.ts";
import { createPacer, type Pacer, type SlicedWork } from "../sandbox/pacer.ts";
import type { ProviderType, SandboxProvider, SandboxRecord } from "../sandbox/provider.ts";
import type { Clock } from "../clock.ts";
import { formatTime } from "./parameters.ts";
import {
  comparePlaces,
  formatCursor,
  type SandboxPlace,
  type SandboxQuery,
  type SandboxSort,
  type SandboxState,
} from "./sandbox-query.ts";
import { TopOf } from "./top-of.ts";

/** Milliseconds after which the list makes room for requests. 100,000 sandboxes take about twenty slices. */
const LIST_SLICE_MS = 2;

/** The most ports of one sandbox that are shown, of at most 256. */
const PORTS_SHOWN_MAX = 16;

/** One sandbox in the list, without its token. */
export interface SandboxRow {
  readonly id: string;
  readonly namespace: string;
  readonly uid: string;
  readonly provider: ProviderType;
  readonly state: SandboxState;
  /** Why it is not ready or ambiguous; missing if it is ready. */
  readonly reason?: string | undefined;
  /** Since when the ingress has seen this state (RFC 3339). */
  readonly since?: string | undefined;
  /** Whether it had this state already when the ingress first saw it, so that the true time may be earlier. */
  readonly sinceAtLeast?: true | undefined;
  /** Missing: no address is known, or each port has its own. */
  readonly address?: string | undefined;
  /** The first of the ports that the sandbox names; missing if it names none. */
  readonly ports?: readonly { readonly port: number; readonly address: string }[] | undefined;
  readonly secured: boolean;
  /** The faults of its traffic annotations; missing: there are none. */
  readonly policyFault?: string | undefined;
  /** RFC 3339; missing: it has not been used. */
  readonly lastUse?: string | undefined;
  /** Open now; ended and failed since the ingress first saw it. Missing if this process does not serve. */
  readonly open?: number | undefined;
  /** How many of the open requests wait for the sandbox; missing: none. */
  readonly held?: number | undefined;
  /** Whether the sandbox is paused and being woken. */
  readonly waking?: true | undefined;
  readonly requests?: number | undefined;
  readonly errors?: number | undefined;
}

/** A page of the list. */
export interface SandboxPage {
  readonly sandboxes: readonly SandboxRow[];
  /** For the parameter `cursor`; missing: this is the last page. */
  readonly next?: string | undefined;
  /** How many sandboxes match in total. */
  readonly matched: number;
  /** All sandboxes by state, not only those that match. */
  readonly counts: { readonly ready: number; readonly notReady: number; readonly ambiguous: number };
  readonly synced: boolean;
  /** Why the list is not complete; missing if it is. */
  readonly fault?: string | undefined;
  /** Milliseconds since the list was last known to equal its source. */
  readonly ageMs: number;
}

export interface SandboxListParts {
  readonly provider: SandboxProvider;
  readonly providerType: ProviderType;
  readonly clock: Clock;
  /** Missing: this process does not serve. */
  readonly trafficOf?: (record: SandboxRecord) => SandboxTraffic;
  readonly waitsOf?: (record: SandboxRecord) => { readonly held: number; readonly isWaking: boolean };
  /** Wall-clock milliseconds when the first list was complete; undefined: not yet. */
  readonly syncedAtMs: () => number | undefined;
}

interface Candidate extends SandboxPlace {
  readonly record: SandboxRecord;
}

/** Lists sandboxes page by page. A page reads every sandbox once, in slices, and keeps only what it shows. */
export class SandboxList {
  readonly #parts: SandboxListParts;
  readonly #pacer: Pacer;

  constructor(parts: SandboxListParts) {
    this.#parts = parts;
    this.#pacer = createPacer(parts.clock, { sliceMs: LIST_SLICE_MS });
  }

  async page(query: SandboxQuery): Promise<SandboxPage> {
    const { provider } = this.#parts;
    const { places, matched } = await this.#pacer.run(this.#select(query));
    const shown = places.slice(0, query.limit);
    const last = shown.at(-1);
    const { synced, fault, ageMs } = provider.status();
    return {
      sandboxes: shown.map(({ record }) => this.row(record)),
      next: places.length > query.limit && last !== undefined ? formatCursor(last) : undefined,
      matched,
      counts: provider.counts(),
      synced,
      fault,
      ageMs,
    };
  }

  row(record: SandboxRecord): SandboxRow {
    const { providerType, trafficOf, waitsOf, syncedAtMs } = this.#parts;
    const traffic = trafficOf?.(record);
    const { held, isWaking } = waitsOf?.(record) ?? { held: 0, isWaking: false };
    const { lastUsedMs = 0 } = traffic ?? {};
    const { sinceMs } = record;
    const state = this.#stateOf(record);
    return {
      id: record.name,
      namespace: record.namespace,
      uid: record.uid,
      provider: providerType,
      state,
      reason: state === "ambiguous" ? "its name is in several namespaces" : record.notReady || undefined,
      since: sinceMs === undefined ? undefined : formatTime(sinceMs),
      sinceAtLeast: sinceMs !== undefined && sinceMs <= (syncedAtMs() ?? Number.POSITIVE_INFINITY) ? true : undefined,
      address: record.ports === undefined ? record.endpoint || undefined : undefined,
      ports: listPorts(record),
      secured: record.accessToken !== "",
      policyFault: record.policy?.fault,
      lastUse: lastUsedMs === 0 ? undefined : formatTime(lastUsedMs),
      open: traffic?.open,
      held: held === 0 ? undefined : held,
      waking: isWaking ? true : undefined,
      requests: traffic?.requests,
      errors: traffic?.errors,
    };
  }

  *#select(query: SandboxQuery): SlicedWork<{ readonly places: readonly Candidate[]; readonly matched: number }> {
    const { after, isDescending } = query;
    const order = { isDescending };
    // One more than is shown tells whether there is a next page.
    const first = new TopOf<Candidate>(query.limit + 1, (a, b) => comparePlaces(a, b, order));
    let matched = 0;
    for (const record of this.#parts.provider.view.records()) {
      yield;
      if (!this.#matches(record, query)) continue;
      matched += 1;
      const { name, namespace } = record;
      const candidate = { key: this.#keyOf(record, query.sort), name, namespace, record };
      if (after === undefined || comparePlaces(candidate, after, order) > 0) first.add(candidate);
    }
    return { places: first.sorted(), matched };
  }

  #matches(record: SandboxRecord, { search, state, namespace }: SandboxQuery): boolean {
    if (namespace !== "" && record.namespace !== namespace) return false;
    if (search !== "") {
      const { name, endpoint, uid } = record;
      const isFound = [name, record.namespace, endpoint, uid].some((text) => text.includes(search));
      if (!isFound) return false;
    }
    return state === undefined || this.#stateOf(record) === state;
  }

  #stateOf(record: SandboxRecord): SandboxState {
    if (this.#parts.provider.view.isAmbiguous(record.name)) return "ambiguous";
    return record.ready ? "ready" : "not-ready";
  }

  /** States that need attention come first. Of ready sandboxes, these are those with a faulty policy. */
  #stateKeyOf(record: SandboxRecord): number {
    const state = this.#stateOf(record);
    return state === "ready" && record.policy?.fault !== undefined ? FAULTY_KEY : STATE_KEYS[state];
  }

  #keyOf(record: SandboxRecord, sort: SandboxSort): number {
    switch (sort) {
      case "name":
        return 0;
      case "state":
        return this.#stateKeyOf(record);
      case "since":
        return record.sinceMs ?? 0;
      case "last-use":
        return this.#parts.trafficOf?.(record).lastUsedMs ?? 0;
      case "open":
        return this.#parts.trafficOf?.(record).open ?? 0;
      case "errors":
        return this.#parts.trafficOf?.(record).errors ?? 0;
    }
  }
}

function listPorts({ ports }: SandboxRecord): SandboxRow["ports"] {
  if (ports === undefined) return undefined;
  return [...ports].slice(0, PORTS_SHOWN_MAX).map(([port, address]) => ({ port, address }));
}

const STATE_KEYS: Readonly<Record<SandboxState, number>> = { "not-ready": 0, ambiguous: 1, ready: 3 };
const FAULTY_KEY = 2;
