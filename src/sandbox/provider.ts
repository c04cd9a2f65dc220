import type { SandboxPolicy } from "./policy.ts";

/** Which resource the sandboxes are: `--provider-type`. */
export type ProviderType = "batchsandbox" | "agent-sandbox";

/** The ports that a map-form endpoint annotation names: port → `host:port` to dial (docs/contract.md §1). */
export type PortEndpoints = ReadonlyMap<number, string>;

/**
 * What is known of one sandbox. Small on purpose: a cluster has tens of thousands, and one of these each.
 * Immutable; a change of the resource makes a new record.
 */
export interface SandboxRecord {
  readonly namespace: string;
  /** `metadata.name`. */
  readonly name: string;
  /** `metadata.uid`: with `endpoint`, the sandbox's generation. Unique over all records of a provider. */
  readonly uid: string;
  /**
   * Host to dial, as in a URL and without a port: `10.0.0.7`, `[fd00::7]`, `name.ns.svc.cluster.local`.
   * Empty: none is known. For the map form: a canonical text of the whole map, so that a change is seen.
   */
  readonly endpoint: string;
  /** Only for the map form; then a port that it lacks is not ready. */
  readonly ports: PortEndpoints | undefined;
  /** Whether a request may be sent there: the resource says ready and an endpoint is known. */
  readonly ready: boolean;
  /**
   * Why not ready, for the client: the Go ingress's words where it has some (docs/contract.md §1). Empty when
   * ready.
   */
  readonly notReady: string;
  /** The secure access token, trimmed; empty: the sandbox is open. Never logged. */
  readonly accessToken: string;
  /**
   * What its annotations say about its traffic; undefined: nothing. No part of the generation: a change counts from the
   * next request on and ends nothing.
   */
  readonly policy?: SandboxPolicy | undefined;
  /**
   * Wall-clock milliseconds since which the ingress has seen this uid with this readiness and reason; the table's to say. It
   * may have been so before the ingress looked first.
   */
  readonly sinceMs?: number | undefined;
}

/** What a look-up of a sandbox id finds. A state of the world, hence a value and not an error. */
export type Resolution =
  | { readonly state: "found"; readonly record: SandboxRecord }
  | { readonly state: "ambiguous" }
  | { readonly state: "not-found" };

/** How many sandboxes are in which state, for metrics. */
export interface SandboxCounts {
  readonly ready: number;
  readonly notReady: number;
  readonly ambiguous: number;
}

/** What a provider says of itself, for readiness, refusals and metrics. */
export interface ProviderStatus {
  /** Whether the first complete list has been applied. Never goes back to false. */
  readonly synced: boolean;
  /** The last fault while not synced, in one clear line for log and probes; undefined while none is known. */
  readonly fault: string | undefined;
  /** Milliseconds since the table was last known to equal its source; 0 where that is always so. */
  readonly ageMs: number;
}

/** All that is known, for lists. */
export interface SandboxView {
  /** Every record, in no particular order. What changes meanwhile may come as it was or as it is. */
  records(): Iterable<SandboxRecord>;
  /** The record of exactly this object. */
  find(namespace: string, name: string): SandboxRecord | undefined;
  /** Whether the name is in several namespaces, so that requests for it are refused. */
  isAmbiguous(name: string): boolean;
}

/** Called when a generation (uid and endpoint) is over: the object went, or its uid or endpoint changed. */
export type GenerationEndListener = (record: SandboxRecord) => void;

/** Where records come from: Kubernetes, or manifest files. */
export interface SandboxProvider {
  /** Begins to read; resolves at once, not when synced. */
  start(): Promise<void>;
  /** Stops reading; the table keeps what it has. Idempotent. */
  stop(): Promise<void>;
  /** Looks an id up: synchronous, from memory, its cost independent of the number of sandboxes. */
  resolve(sandboxId: string): Resolution;
  /** Resolves to true once synced, or to false after `timeoutMs`. */
  whenSynced(timeoutMs: number): Promise<boolean>;
  status(): ProviderStatus;
  counts(): SandboxCounts;
  readonly view: SandboxView;
  /** Pairs of sandboxes of different namespaces that one id can mean, noted since the start: both are ambiguous. */
  namesakes(): number;
  /** Registers the listener for the provider's life. */
  onGenerationEnd(listener: GenerationEndListener): void;
}

/**
 * Where to dial for a port: `host:port`, or undefined where the record has no endpoint for it.
 */
export function endpointFor(record: SandboxRecord, port: number): string | undefined {
  if (record.ports !== undefined) return record.ports.get(port);
  return record.endpoint === "" ? undefined : `${record.endpoint}:${port}`;
}
