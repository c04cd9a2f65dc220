import type { KubeObject } from "./resource.ts";

/** A whole new content on its way into the store. The store keeps serving what it has until `commit`. */
export interface StoreReplacement {
  /** Adds or replaces an object: of one object the last state counts. */
  add(object: KubeObject): void;
  /** Forgets an object that was added; it need not be there. */
  remove(object: KubeObject): void;
  /** Makes what was added the whole content of the store, in one step. */
  commit(): void;
  /** Forgets what was added; the store keeps what it has. */
  abort(): void;
}

/**
 * What a reflector keeps equal to a resource of an API server. Objects are handed over once; their memory is the
 * store's to decide.
 *
 * What the store can rely on:
 * - **States.** The store sees, of each object, a subsequence of the states that the API server associated with the
 *   object, "absent" included, in their order. States may be left out: only the last one counts. The same state may
 *   come twice. An object that was deleted and created anew under its name is another object.
 * - **Order.** The store never goes back in time, across watches, lists and connections of one reflector: after a state
 *   of resource version V was seen of any object, no content older than V replaces it. Two exceptions, each with a
 *   warning in the log: the history of the server itself went back (etcd restored from a backup), or the server's
 *   resource versions are not decimal numbers, which Kubernetes does not allow (KEP-5504).
 * - **Start.** The first content is never older than the request for it (a consistent read). So a process that
 *   restarts does not go back in time either, unlike client-go, which begins with `resourceVersion=0`.
 * - **Whole.** A list comes into view in one step (`commit`), and never in part. Between two steps the content is that
 *   of one resource version; changes come one by one after it.
 * - **Age.** While a watch works, the content is as old as what the API server that answers knows (its watch cache may
 *   be behind etcd), plus the way. A connection without a byte is replaced after `silenceMaxMs` (75 s), so that a dead
 *   connection costs at most that and the reconnect. While the API server is away, refuses or misbehaves, the
 *   content stays what it was, of any age: `ReflectorStatus.confirmedAtMs` tells the age, `fault` the reason. Where the
 *   server sends no bookmarks (`--watch-cache=false`), or a proxy holds events back, everything is listed again after
 *   `silencesBeforeRelist` silent watches (10 minutes), which is then the most that the content can be behind.
 * - **In the end.** Once the API server answers again, the store equals it again by itself, without a restart, whatever
 *   was missed. A list after lost history begins within `relistSpreadMs` (1 s).
 *
 * Calls are synchronous and never concurrent. A call that throws ends its request, which is made again.
 */
export interface ReflectorStore {
  beginReplace(): StoreReplacement;
  /** Adds or replaces an object; the same one may come twice. */
  set(object: KubeObject): void;
  /** Forgets an object; it need not be there. */
  remove(object: KubeObject): void;
}
