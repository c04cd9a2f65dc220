import type { Clock } from "../clock.ts";
import type { KubeClient } from "./kube-client.ts";
import { buildStatusError, KubeError } from "./kube-error.ts";
import { readKubeStream } from "./kube-stream.ts";
import type { ReflectorLimits } from "./limits.ts";
import { createLineSplitter } from "./line-splitter.ts";
import {
  buildResourcePath,
  compareResourceVersions,
  isJsonObject,
  isKubeObject,
  type KubeObject,
  type KubeResource,
} from "./resource.ts";

/** What an event of a watch changes. A bookmark changes the position only. */
export type WatchChange =
  | { readonly type: "set" | "remove"; readonly object: KubeObject; readonly position: string }
  | { readonly type: "bookmark"; readonly position: string };

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
  const { limits } = options;
  const [least, most] = limits.watchTimeoutSeconds;
  const query = new URLSearchParams({
    watch: "true",
    allowWatchBookmarks: "true",
    resourceVersion: position,
    timeoutSeconds: String(Math.round(least + (most - least) * options.random())),
  });
  const lines = createLineSplitter(limits.lineMaxBytes);
  let current = position;
  const stream = readKubeStream(`${buildResourcePath(resource)}?${query.toString()}`, {
    ...options,
    headMaxMs: limits.headMaxMs,
    idleMaxMs: limits.silenceMaxMs,
  });
  for await (const chunk of stream) {
    for (const line of splitChunk(lines, chunk)) {
      const change = parseWatchLine(line);
      checkOrder(current, change.position);
      options.onChange(change);
      current = change.position;
    }
  }
  // What was cut off is sent again, since the position is still before it.
  if (lines.pendingBytes() > 0) throw new KubeError("unreachable", "the watch ended in the middle of a line");
}

function splitChunk(lines: ReturnType<typeof createLineSplitter>, chunk: Uint8Array): string[] {
  try {
    return lines.push(chunk);
  } catch (error) {
    throw new KubeError("protocol", error instanceof RangeError ? error.message : "a line is no UTF-8", {
      cause: error,
    });
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
  if (type === "BOOKMARK") return { type: "bookmark", position };
  if (!isKubeObject(object)) throw new KubeError("protocol", "an event carries no object with a name");
  if (type === "ADDED" || type === "MODIFIED") return { type: "set", object, position };
  if (type === "DELETED") return { type: "remove", object, position };
  throw new KubeError("protocol", "an event is of no known type");
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
