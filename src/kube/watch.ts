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
  isJsonObject,
  isKubeObject,
  type KubeObject,
  type KubeResource,
} from "./resource.ts";

/** What an event of a watch changes. A bookmark changes the position only; one of them ends a stream's objects. */
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
  /** Takes each change in order; what it throws ends the watch. */
  readonly onChange: (change: WatchChange) => void;
}

/**
 * Watches a resource from a position on, over one connection, and resolves when the server ends it in order.
 * Throws KubeError: `expired` when the position is no longer in the server's history, `protocol` for a line that cannot be
 * understood or an event older than one before, `silent`, or `unreachable` when the connection breaks, be it in a line.
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
 * connection. The objects come as `set`, in no order of versions and mixed with changes; a bookmark with `endsObjects`
 * says that all were there. From then on it is a watch like `watchObjects`.
 *
 * @param notOlderThan The oldest resource version that will do. Undefined: never older than the request.
 * Throws KubeError as `watchObjects` does, and before the objects' end: `refused` or `protocol` by a server that does not
 * serve streams, `silent` when it stalls, `ahead` when it has not come to `notOlderThan`.
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
  const whole = createDeadline(clock, limits.listMaxMs, { onExpire: giveUp(`has not ended after ${seconds} s`) });
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
  // What was cut off is sent again, since the position is still before it.
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

/** One line of a watch. Throws KubeError: for an ERROR event what its status says, else `protocol`. */
export function parseWatchLine(line: string): WatchChange {
  let event: unknown;
  try {
    event = JSON.parse(line);
  } catch {
    // The line itself is not shown: it may carry a token.
    throw new KubeError("protocol", `a line of ${line.length} characters is no JSON`);
  }
  const { type, object }: Readonly<Record<string, unknown>> = isJsonObject(event) ? event : {};
  if (type === "ERROR") throw buildStatusError(object);
  const metadata = isJsonObject(object) ? object["metadata"] : undefined;
  const position = isJsonObject(metadata) ? metadata["resourceVersion"] : undefined;
  if (typeof position !== "string" || position === "") {
    throw new KubeError("protocol", "an event carries no resource version");
  }
  if (type === "BOOKMARK") return { type: "bookmark", position, endsObjects: hasEndAnnotation(metadata) };
  if (!isKubeObject(object)) throw new KubeError("protocol", "an event carries no object with a name");
  if (type === "ADDED" || type === "MODIFIED") return { type: "set", object, position };
  if (type === "DELETED") return { type: "remove", object, position };
  throw new KubeError("protocol", "an event is of no known type");
}

/** `metav1.InitialEventsAnnotationKey`. */
function hasEndAnnotation(metadata: unknown): boolean {
  const annotations = isJsonObject(metadata) ? metadata["annotations"] : undefined;
  return isJsonObject(annotations) && annotations["k8s.io/initial-events-end"] === "true";
}

/**
 * The order of events is their meaning: an old one, applied, would bring back what is gone, and left out might have been
 * the only one of its object. It also shows a history that was rolled back, as by restoring etcd from a backup.
 */
function checkOrder(current: string, next: string): void {
  const order = compareResourceVersions(next, current);
  if (order !== undefined && order < 0) {
    throw new KubeError("protocol", `an event of version ${next} came after version ${current}`);
  }
}
