import type { KubeObject } from "./resource.ts";

/** A new content for the store. The store serves its old content until `commit`. */
export interface StoreReplacement {
  /** Adds or replaces an object. The last state of an object wins. */
  add(object: KubeObject): void;
  /** Removes an object that was added; does nothing if it was not. */
  remove(object: KubeObject): void;
  /** Makes the added objects the whole content of the store, in one step. */
  commit(): void;
  /** Discards the added objects. The store keeps its content. */
  abort(): void;
}

/**
 * A store that a reflector keeps equal to a resource of an API server. The reflector does not keep objects; the store
 * decides what to keep.
 *
 * The store can rely on:
 * - **States.** For each object, the store sees a subsequence of the states that the API server associated with it, in
 *   order; "absent" is a state, too. States may be skipped, but not the last one. A state may come twice. An object
 *   that was deleted and created again under its name is a new object.
 * - **Order.** The store never goes back in time, across the watches, lists and connections of one reflector: after it
 *   has seen a state of resource version V, no older content replaces it. There are two exceptions, each with a warning
 *   in the log: the server's own history went back (etcd restored from a backup), or the server's resource versions are
 *   not decimal numbers, which Kubernetes does not allow (KEP-5504).
 * - **Start.** The first content is never older than the request for it (a consistent read). So a process that restarts
 *   does not go back in time either, unlike client-go, which begins with `resourceVersion=0`.
 * - **Whole.** A list becomes visible in one step (`commit`), never in part. Right after that step the content is that
 *   of one resource version; then changes come one by one.
 * - **Age.** While a watch works, the content is as old as the knowledge of the API server that answers (its watch
 *   cache may be behind etcd), plus the time on the network. A connection without a byte is replaced after
 *   `silenceMaxMs` (75 s), so a dead connection costs at most that and the reconnect. While the API server is away,
 *   refuses or misbehaves, the content stays as it is, at any age: `ReflectorStatus.confirmedAtMs` tells the age,
 *   `fault` the reason. If the server sends no bookmarks (`--watch-cache=false`), or a proxy holds events back,
 *   everything is listed again after `silencesBeforeRelist` silent watches (10 minutes). The content is never further
 *   behind than that.
 * - **Recovery.** After the API server answers again, the store becomes equal to it without a restart, whatever it
 *   missed. A list after lost history begins within `relistSpreadMs` (1 s).
 *
 * Calls are synchronous and never concurrent. If a call throws, its request ends and is made again.
 */
export interface ReflectorStore {
  beginReplace(): StoreReplacement;
  /** Adds or replaces an object. The same state may come twice. */
  set(object: KubeObject): void;
  /** Removes an object; does nothing if it is missing. */
  remove(object: KubeObject): void;
}
