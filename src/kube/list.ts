import type { Clock } from "../clock.ts";
import { createDeadline } from "./deadline.ts";
import type { KubeClient } from "./client.ts";
import { KubeError, toKubeError } from "./errors.ts";
import { readKubeStream } from "./stream.ts";
import type { ReflectorLimits } from "./reflector-limits.ts";
import { ListDecoder } from "./list-decoder.ts";
import { buildResourcePath, isKubeObject, type KubeObject, type KubeResource } from "./resource.ts";
import { isObject } from "../values.ts";

export interface ListOptions {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  readonly limits: ReflectorLimits;
  /**
   * The oldest acceptable resource version: the server answers from its memory. Undefined: a consistent list, never
   * older than the request (Kubernetes API concepts, "the resourceVersion parameter"). Do not combine it with
   * `pageSize`: with a limit and a version the server reads from etcd.
   */
  readonly notOlderThan?: string;
  /** Objects in a page. All pages show the same moment. Undefined: one answer. */
  readonly pageSize?: number;
  /** Called for each page when the server begins to answer. */
  readonly onOpen?: () => void;
  /** Receives each object as it arrives, in the order of the list. */
  readonly onObject: (object: KubeObject) => void;
}

/**
 * Lists a resource and returns the resource version of the list. Only one object at a time is in memory. Throws
 * KubeError: `expired` if the moment of the first page is no longer in the server's history, `ahead` if the server has
 * not reached `notOlderThan`.
 */
export async function listObjects(resource: KubeResource, options: ListOptions): Promise<string> {
  const { clock, limits } = options;
  const own = new AbortController();
  const deadline = createDeadline(clock, limits.listMaxMs, {
    onExpire: () => own.abort(new KubeError("silent", `the list did not end within ${limits.listMaxMs / 1000} s`)),
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
 * Returns the server's current resource version, by the smallest consistent list. Throws KubeError as `listObjects`
 * does.
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
      throw new KubeError("protocol", "the list repeats a continue token");
    }
    continueToken = page.continueToken;
  }
}

interface PageEnd {
  readonly resourceVersion: string;
  /** Empty on the last page. */
  readonly continueToken: string;
}

/** Reads one answer of a list. Passes on each object as soon as it is complete. */
async function readPage(path: string, options: ListOptions): Promise<PageEnd> {
  const { limits, onObject } = options;
  const decoder = new ListDecoder(limits.lineMaxBytes);
  const stream = readKubeStream(path, { ...options, headMaxMs: limits.headMaxMs, idleMaxMs: limits.pageStallMaxMs });
  for await (const chunk of stream) {
    for (const item of decodeItems(decoder.push(chunk))) {
      if (!isKubeObject(item)) throw new KubeError("protocol", "the list has an object without a name");
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

/** Errors do not show the text, because it may contain a token. */
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
  const metadata = isObject(page) ? page["metadata"] : undefined;
  if (!isObject(page) || !isObject(metadata)) throw new KubeError("protocol", "a page of the list is not a list");
  // Go writes an empty list as null.
  const items: unknown = page["items"] ?? [];
  const { resourceVersion } = metadata;
  const continueToken = metadata["continue"] ?? "";
  if (!Array.isArray(items) || typeof resourceVersion !== "string" || resourceVersion === "") {
    throw new KubeError("protocol", "a page of the list is missing its items or resource version");
  }
  if (typeof continueToken !== "string") throw new KubeError("protocol", "a continue token is not a string");
  return { resourceVersion, continueToken };
}
