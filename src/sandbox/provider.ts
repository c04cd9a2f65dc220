import type { SandboxPolicy } from "./policy.ts";

/** Which resource describes sandboxes: `--provider-type`. */
export type ProviderType = "batchsandbox" | "agent-sandbox";

/** The ports of a map-form endpoint annotation: port → `host:port` to dial (docs/contract.md §1). */
export type PortEndpoints = ReadonlyMap<number, string>;

/**
 * What a paused sandbox does:
 * - `asleep`: it is paused, or is about to be. It stays so until somebody wakes it.
 * - `waking`: it has been told to run, and does not yet.
 * - `failed`: it has been told to run, and its controller says that this failed.
 */
export type SandboxSleep = "asleep" | "waking" | "failed";

/**
 * What is known of one sandbox. It is small, because a cluster has tens of thousands of them. It is immutable; a change
 * of the resource makes a new record.
 */
export interface SandboxRecord {
  readonly namespace: string;
  /** `metadata.name`. */
  readonly name: string;
  /** The claim that adopted it from a warm pool, by which it is found, too. Undefined: none, or one of its own name. */
  readonly claim?: string | undefined;
  /** `metadata.uid`: with `endpoint`, the sandbox's generation. Unique over all records of a provider. */
  readonly uid: string;
  /**
   * Host to dial, as in a URL and without a port: `10.0.0.7`, `[fd00::7]`, `name.ns.svc.cluster.local`. Empty if
   * unknown. For the map form: a canonical text of the whole map, so that a change of the map changes the endpoint.
   */
  readonly endpoint: string;
  /** Only for the map form. A port that is missing here is not ready. */
  readonly ports: PortEndpoints | undefined;
  /** Whether requests may be sent: the resource is ready and its endpoint is known. */
  readonly ready: boolean;
  /**
   * Why the sandbox is not ready, for the client; the Go ingress's words if it has some (docs/contract.md §1). Empty if
   * ready.
   */
  readonly notReady: string;
  /** The secure access token, trimmed. Empty: the sandbox is open. Never logged. */
  readonly accessToken: string;
  /**
   * What the annotations set for the traffic; undefined: nothing. The policy is not part of the generation: a change
   * applies from the next request on and ends nothing.
   */
  readonly policy?: SandboxPolicy | undefined;
  /** Undefined: the sandbox is not paused, or its kind cannot be. */
  readonly sleep?: SandboxSleep | undefined;
  /**
   * Wall-clock milliseconds since which the ingress has seen this uid with this readiness and reason; the table's to say. It
   * may have been so before the ingress looked first.
   */
  readonly sinceMs?: number | undefined;
}

/** The result of looking up a sandbox id. It is a state of the world, so it is a value and not an error. */
export type Resolution =
  | { readonly state: "found"; readonly record: SandboxRecord }
  | { readonly state: "ambiguous" }
  | { readonly state: "not-found" };

/** How many sandboxes are in each state, for metrics. */
export interface SandboxCounts {
  readonly ready: number;
  readonly notReady: number;
  readonly ambiguous: number;
}

/** The provider's own state, for readiness, refusals and metrics. */
export interface ProviderStatus {
  /** Whether the first complete list has been applied. It never becomes false again. */
  readonly synced: boolean;
  /**
   * The current fault in one line, for log and probes; undefined if there is none. A synced provider can have one, too.
   */
  readonly fault: string | undefined;
  /** Milliseconds since the table was last known to equal its source; 0 if it always does. */
  readonly ageMs: number;
}

/** What a provider did at an API server since the start, by reason. The reasons are a fixed set. */
export interface WatchActivity {
  /** Complete lists. */
  readonly lists: Readonly<Record<string, number>>;
  readonly watchEnds: Readonly<Record<string, number>>;
}

/** All that is known, for lists. */
export interface SandboxView {
  /** Every record, in no particular order. A record that changes meanwhile may come as it was or as it is. */
  records(): Iterable<SandboxRecord>;
  /** The record of exactly this object. */
  find(namespace: string, name: string): SandboxRecord | undefined;
  /** Whether the name is in several namespaces, so that requests for it are refused. */
  isAmbiguous(name: string): boolean;
}

/** Called when a generation (uid and endpoint) ends: the object is deleted, or its uid or endpoint changes. */
export type GenerationEndListener = (record: SandboxRecord) => void;

/**
 * Called after every change of what is known, each time the same or not. `name` is that of the object; undefined: any number of
 * objects changed.
 */
export type ChangeListener = (name: string | undefined) => void;

/** Where records come from: Kubernetes, or manifest files. */
export interface SandboxProvider {
  /** Starts reading. Resolves at once, not when synced. */
  start(): Promise<void>;
  /** Stops reading. The table keeps its content. Idempotent. */
  stop(): Promise<void>;
  /** Looks up an id: synchronous, from memory, at a cost that does not depend on the number of sandboxes. */
  resolve(sandboxId: string): Resolution;
  /** Resolves to true once synced, or to false after `timeoutMs`. */
  whenSynced(timeoutMs: number): Promise<boolean>;
  status(): ProviderStatus;
  counts(): SandboxCounts;
  /** Missing where there is no API server. */
  watching?(): WatchActivity;
  readonly view: SandboxView;
  /** Pairs of sandboxes of different namespaces that share an id, found since the start. Both are ambiguous. */
  namesakes(): number;
  /** Registers a listener for the provider's life. */
  onGenerationEnd(listener: GenerationEndListener): void;
  /** Registers a listener for the provider's life. It is called after those for the end of generations. */
  onChange(listener: ChangeListener): void;
}

/** Where to dial for a port: `host:port`, or undefined if the record has no endpoint for it. */
export function endpointFor(record: SandboxRecord, port: number): string | undefined {
  if (record.ports !== undefined) return record.ports.get(port);
  return record.endpoint === "" ? undefined : `${record.endpoint}:${port}`;
}

/** What became of a wake. */
export type WakeResult =
  /** The sandbox has been told to run, by this call or by somebody else before. */
  | { readonly kind: "told" }
  /** The sandbox is gone, or another has its name. */
  | { readonly kind: "gone" }
  /** `reason` is for the log. */
  | { readonly kind: "failed"; readonly reason: string };

/** Wakes paused sandboxes. */
export interface SandboxWaker {
  /** Tells a paused sandbox to run. Takes bounded time, cannot be cancelled, and never rejects. */
  wake(record: SandboxRecord): Promise<WakeResult>;
}
