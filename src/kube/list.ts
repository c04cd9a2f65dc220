import type { Clock } from "../clock.ts";
import { createDeadline } from "./deadline.ts";
import type { KubeClient } from "./client.ts";
import { KubeError, toKubeError } from "./errors.ts";
import { readKubeStream } from "./stream.ts";
import type { ReflectorLimits } from "./reflector-limits.ts";
import { createListDecoder } from "./list-decoder.ts";
import { buildResourcePath, isJsonObject, isKubeObject, type KubeObject, type KubeResource } from "./resource.ts";

export interface ListOptions {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  readonly limits: ReflectorLimits;
  /**
   * The oldest resource version that will do: the server answers from its memory. Undefined: a consistent list, never
   * older than the request (Kubernetes API concepts, "the resourceVersion parameter"). Not together with `pageSize`:
   * a limit and a version would send the server to etcd.
   */
  readonly notOlderThan?: string;
  /** Objects in a page; all pages show the moment of the first. Undefined: one answer. */
  readonly pageSize?: number;
  /** Called when the server has begun to answer, for each page. */
  readonly onOpen?: () => void;
  /** Takes each object as it arrives, in the order of the list. */
  readonly onObject: (object: KubeObject) => void;
}

/**
 * Lists a resource and gives the resource version of the whole. Memory holds one object at a time.
 * Throws KubeError: `expired` when the moment of the first page is no longer in the server's history, `ahead` when the
 * server has not come to `notOlderThan`.
 */
export async function listObjects(resource: KubeResource, options: ListOptions): Promise<string> {
  const { clock, limits } = options;
  const own = new AbortController();
  const deadline = createDeadline(clock, limits.listMaxMs, {
    onExpire: () => own.abort(new KubeError("silent", `the list has not ended after ${limits.listMaxMs / 1000} s`)),
  });
  try {
    return await listPages(resource, { ...options, signal: AbortSignal.any([options.signal, own.signal]) });
  } catch (error) {
    throw toKubeError(own.signal.aborted ? own.signal.reason : error);
  } finally {
    deadline.cancel();
  }
}

/**
 * Gives the resource version that the server is at now: the smallest consistent list.
 * Throws KubeError as `listObjects` does.
 */
export async function readCurrentVersion(
  resource: KubeResource,
  options: Omit<ListOptions, "onObject" | "notOlderThan" | "pageSize">,
): Promise<string> {
  const path = `${buildResourcePath(resource)}?limit=1`;
  const { resourceVersion } = await readPage(path, { ...options, onObject() {} });
  return resourceVersion;
}

async function listPages(resource: KubeResource, options: ListOptions): Promise<string> {
  const { limits, notOlderThan, pageSize } = options;
  let continueToken = "";
  let count = 0;
  const onObject = (object: KubeObject) => {
    count += 1;
    if (count > limits.listMaxObjects) {
      throw new KubeError("protocol", `the list has more than ${limits.listMaxObjects} objects`);
    }
    options.onObject(object);
  };
  for (;;) {
    const query = new URLSearchParams(
      continueToken !== ""
        ? { continue: continueToken }
        : notOlderThan !== undefined
          ? { resourceVersion: notOlderThan, resourceVersionMatch: "NotOlderThan" }
          : {},
    );
    if (pageSize !== undefined) query.set("limit", String(pageSize));
    const path = buildResourcePath(resource);
    const page = await readPage(query.size === 0 ? path : `${path}?${query.toString()}`, { ...options, onObject });
    if (page.continueToken === "") return page.resourceVersion;
    if (page.continueToken === continueToken) {
      throw new KubeError("protocol", "the list gives the same continue token again");
    }
    continueToken = page.continueToken;
  }
}

interface PageEnd {
  readonly resourceVersion: string;
  /** Empty: this is the last page. */
  readonly continueToken: string;
}

/** Reads one answer of a list, passing on each object as soon as it is complete. */
async function readPage(path: string, options: ListOptions): Promise<PageEnd> {
  const { limits, onObject } = options;
  const decoder = createListDecoder(limits.lineMaxBytes);
  const stream = readKubeStream(path, { ...options, headMaxMs: limits.headMaxMs, idleMaxMs: limits.pageStallMaxMs });
  for await (const chunk of stream) {
    for (const item of decodeItems(decoder.push(chunk))) {
      if (!isKubeObject(item)) throw new KubeError("protocol", "the list holds an object without a name");
      onObject(item);
    }
  }
  return readPageEnd(decode(() => decoder.finish()));
}

function* decodeItems(items: Generator<unknown, void, undefined>): Generator<unknown, void, undefined> {
  for (;;) {
    const { done, value } = decode(() => items.next());
    if (done === true) return;
    yield value;
  }
}

/** The text itself is not shown: it may carry a token. */
function decode<T>(run: () => T): T {
  try {
    return run();
  } catch (error) {
    throw new KubeError("protocol", error instanceof RangeError ? error.message : "a page of the list is not JSON", {
      cause: error,
    });
  }
}

function readPageEnd(page: unknown): PageEnd {
  const metadata = isJsonObject(page) ? page["metadata"] : undefined;
  if (!isJsonObject(page) || !isJsonObject(metadata)) throw new KubeError("protocol", "a page of the list is no list");
  // Go writes an empty list as null.
  const items: unknown = page["items"] ?? [];
  const { resourceVersion } = metadata;
  const continueToken = metadata["continue"] ?? "";
  if (!Array.isArray(items) || typeof resourceVersion !== "string" || resourceVersion === "") {
    throw new KubeError("protocol", "a page of the list has no items or no resource version");
  }
  if (typeof continueToken !== "string") throw new KubeError("protocol", "a continue token is not a string");
  return { resourceVersion, continueToken };
}
