import type { Clock } from "../clock.ts";
import { createDeadline, type Deadline } from "./deadline.ts";
import type { KubeClient } from "./client.ts";
import { buildStatusError, KubeError } from "./errors.ts";
import { readKubeStream } from "./stream.ts";
import type { ReflectorLimits } from "./reflector-limits.ts";
import { createLineSplitter, type LineSplitter } from "./line-splitter.ts";
import {
  buildResourcePath,
  compareResourceVersions,
  isKubeObject,
  type KubeObject,
  type KubeResource,
} from "./resource.ts";
import { isObject } from "../values.ts";

/** A change from a watch. A bookmark changes only the position. One bookmark marks the end of a stream's objects. */
export type WatchChange =
  | { readonly type: "set" | "remove"; readonly object: KubeObject; readonly position: string }
  | { readonly type: "bookmark"; readonly position: string; readonly endsObjects: boolean };

export interface WatchOptions {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  readonly limits: ReflectorLimits;
  /** In [0, 1), for the server's time limit. */
  readonly random: () => number;
  /** Called once when the server has accepted the watch. */
  readonly onOpen: () => void;
  /** Receives each change in order. An exception ends the watch. */
  readonly onChange: (change: WatchChange) => void;
}

/**
 * Watches a resource from a position, over one connection. Resolves when the server ends the watch in order. Throws
 * KubeError: `expired` if the position is no longer in the server's history, `protocol` for an invalid line or an event
 * older than an earlier one, `silent`, or `unreachable` if the connection breaks, even within a line.
 */
export async function watchObjects(resource: KubeResource, position: string, options: WatchOptions): Promise<void> {
  let current = position;
  await readChanges(resource, new URLSearchParams({ resourceVersion: position }), {
    ...options,
    onChange(change) {
      checkOrder(current, change.position);
      options.onChange(change);
      current = change.position;
    },
  });
}

/**
 * Watches a resource beginning with all of its objects (Kubernetes API concepts, "Streaming lists"; KEP-3157), over one
 * connection. The objects come as `set`, in any order of versions and mixed with changes. A bookmark with `endsObjects`
 * marks their end. From then on this is a watch like `watchObjects`.
 *
 * @param notOlderThan The oldest acceptable resource version. Undefined: never older than the request.
 * Throws KubeError as `watchObjects` does. Before the end of the objects: `refused` or `protocol` from a server that
 * does not support streams, `silent` if it stalls, `ahead` if it has not reached `notOlderThan`.
 */
export async function streamObjects(
  resource: KubeResource,
  notOlderThan: string | undefined,
  options: WatchOptions,
): Promise<void> {
  const { clock, limits } = options;
  const query = new URLSearchParams({ sendInitialEvents: "true", resourceVersionMatch: "NotOlderThan" });
  if (notOlderThan !== undefined) query.set("resourceVersion", notOlderThan);
  const own = new AbortController();
  const giveUp = (what: string) => () => own.abort(new KubeError("silent", `the stream of objects ${what}`));
  const [stallSeconds, seconds] = [limits.streamStallMaxMs / 1000, limits.listMaxMs / 1000];
  const whole = createDeadline(clock, limits.listMaxMs, { onExpire: giveUp(`did not end within ${seconds} s`) });
  let stall: Deadline | undefined;
  let current: string | undefined;
  let count = 0;
  const readFirst = (change: WatchChange): void => {
    if (change.type !== "bookmark") {
      count += 1;
      if (count <= limits.listMaxObjects) return;
      throw new KubeError("protocol", `the stream has more than ${limits.listMaxObjects} objects`);
    }
    if (!change.endsObjects) throw new KubeError("protocol", "a bookmark came before the end of the objects");
    if (notOlderThan !== undefined) checkOrder(notOlderThan, change.position);
    current = change.position;
    whole.cancel();
    stall?.cancel();
  };
  try {
    await readChanges(resource, query, {
      ...options,
      signal: AbortSignal.any([options.signal, own.signal]),
      onOpen() {
        stall = createDeadline(clock, limits.streamStallMaxMs, { onExpire: giveUp(`stalled for ${stallSeconds} s`) });
        options.onOpen();
      },
      onChange(change) {
        stall?.touch();
        if (current === undefined) readFirst(change);
        else {
          checkOrder(current, change.position);
          current = change.position;
        }
        options.onChange(change);
      },
    });
    if (current === undefined) throw new KubeError("unreachable", "the stream ended before the end of the objects");
  } finally {
    whole.cancel();
    stall?.cancel();
  }
}

async function readChanges(resource: KubeResource, query: URLSearchParams, options: WatchOptions): Promise<void> {
  const { limits } = options;
  const [least, most] = limits.watchTimeoutSeconds;
  query.set("watch", "true");
  query.set("allowWatchBookmarks", "true");
  query.set("timeoutSeconds", String(Math.round(least + (most - least) * options.random())));
  const lines = createLineSplitter(limits.lineMaxBytes);
  const stream = readKubeStream(`${buildResourcePath(resource)}?${query.toString()}`, {
    ...options,
    headMaxMs: limits.headMaxMs,
    idleMaxMs: limits.silenceMaxMs,
  });
  for await (const chunk of stream) {
    for (const line of splitChunk(lines, chunk)) options.onChange(parseWatchLine(line));
  }
  // The position is still before the incomplete event, so the server sends it again.
  if (lines.pendingBytes() > 0) throw new KubeError("unreachable", "the watch ended in the middle of a line");
}

function* splitChunk(lines: LineSplitter, chunk: Uint8Array): Generator<string, void, undefined> {
  const split = lines.push(chunk);
  for (;;) {
    let next: IteratorResult<string, void>;
    try {
      next = split.next();
    } catch (error) {
      throw new KubeError("protocol", error instanceof RangeError ? error.message : "a line is not UTF-8", {
        cause: error,
      });
    }
    if (next.done === true) return;
    yield next.value;
  }
}

/** Parses one line of a watch. Throws KubeError: for an ERROR event by its status, else `protocol`. */
export function parseWatchLine(line: string): WatchChange {
  let event: unknown;
  try {
    event = JSON.parse(line);
  } catch {
    // The error does not show the line, because it may contain a token.
    throw new KubeError("protocol", `a line of ${line.length} characters is not JSON`);
  }
  const { type, object }: Readonly<Record<string, unknown>> = isObject(event) ? event : {};
  if (type === "ERROR") throw buildStatusError(object);
  const metadata = isObject(object) ? object["metadata"] : undefined;
  const position = isObject(metadata) ? metadata["resourceVersion"] : undefined;
  if (typeof position !== "string" || position === "") {
    throw new KubeError("protocol", "an event has no resource version");
  }
  if (type === "BOOKMARK") return { type: "bookmark", position, endsObjects: hasEndAnnotation(metadata) };
  if (!isKubeObject(object)) throw new KubeError("protocol", "an event has no object with a name");
  if (type === "ADDED" || type === "MODIFIED") return { type: "set", object, position };
  if (type === "DELETED") return { type: "remove", object, position };
  throw new KubeError("protocol", "an event has an unknown type");
}

/** `metav1.InitialEventsAnnotationKey`. */
function hasEndAnnotation(metadata: unknown): boolean {
  const annotations = isObject(metadata) ? metadata["annotations"] : undefined;
  return isObject(annotations) && annotations["k8s.io/initial-events-end"] === "true";
}

/**
 * Events must come in order. An old event, if applied, would bring back deleted objects; if ignored, it might be the
 * only event of its object. Wrong order also reveals a history that was rolled back, for example by restoring etcd from
 * a backup.
 */
function checkOrder(current: string, next: string): void {
  const order = compareResourceVersions(next, current);
  if (order !== undefined && order < 0) {
    throw new KubeError("protocol", `an event of version ${next} came after version ${current}`);
  }
}
