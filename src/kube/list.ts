import type { Clock } from "../clock.ts";
import { createDeadline } from "./deadline.ts";
import type { KubeClient } from "./kube-client.ts";
import { KubeError, toKubeError } from "./kube-error.ts";
import { readKubeStream } from "./kube-stream.ts";
import type { ReflectorLimits } from "./limits.ts";
import { buildResourcePath, isJsonObject, isKubeObject, type KubeObject, type KubeResource } from "./resource.ts";

export interface ListOptions {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  readonly limits: ReflectorLimits;
  /** Objects in a page. */
  readonly pageSize: number;
  /** Takes each object, in the order of the list. Keeping it keeps its page in memory. */
  readonly onObject: (object: KubeObject) => void;
}

/** A page was longer than the bound: smaller ones may do. */
export class PageTooLargeError extends KubeError {
  constructor(maxBytes: number) {
    super("protocol", `a page of the list is longer than ${maxBytes} bytes`);
  }
}

/**
 * Lists a resource, page by page, and gives the resource version of the whole: all pages show that one moment.
 *
 * No `resourceVersion` is asked for, so the answer is never older than the request (Kubernetes API concepts, "the
 * resourceVersion parameter"): an older one could bring back what a watch has already seen go.
 * Throws KubeError; `expired` when the moment of the first page is no longer in the server's history.
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

async function listPages(resource: KubeResource, options: ListOptions): Promise<string> {
  const { limits, onObject } = options;
  let continueToken = "";
  let count = 0;
  for (;;) {
    const query = new URLSearchParams({ limit: String(options.pageSize) });
    if (continueToken !== "") query.set("continue", continueToken);
    const page = await readPage(`${buildResourcePath(resource)}?${query.toString()}`, options);
    for (const item of page.items) {
      if (!isKubeObject(item)) throw new KubeError("protocol", "the list holds an object without a name");
      onObject(item);
    }
    count += page.items.length;
    if (count > limits.listMaxObjects) {
      throw new KubeError("protocol", `the list has more than ${limits.listMaxObjects} objects`);
    }
    if (page.continueToken === "") return page.resourceVersion;
    if (page.continueToken === continueToken) {
      throw new KubeError("protocol", "the list gives the same continue token again");
    }
    continueToken = page.continueToken;
  }
}

interface Page {
  readonly items: readonly unknown[];
  readonly resourceVersion: string;
  /** Empty: this is the last one. */
  readonly continueToken: string;
}

async function readPage(path: string, options: ListOptions): Promise<Page> {
  const { limits } = options;
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  const stream = readKubeStream(path, { ...options, headMaxMs: limits.headMaxMs, idleMaxMs: limits.pageStallMaxMs });
  for await (const chunk of stream) {
    bytes += chunk.length;
    if (bytes > limits.pageMaxBytes) throw new PageTooLargeError(limits.pageMaxBytes);
    chunks.push(chunk);
  }
  return parsePage(chunks, bytes);
}

function parsePage(chunks: readonly Uint8Array[], bytes: number): Page {
  let page: unknown;
  try {
    page = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(Buffer.concat(chunks, bytes)));
  } catch {
    throw new KubeError("protocol", "a page of the list is no JSON");
  }
  const metadata = isJsonObject(page) ? page["metadata"] : undefined;
  if (!isJsonObject(page) || !isJsonObject(metadata)) throw new KubeError("protocol", "a page of the list is no list");
  // Go writes an empty list as null.
  const items: unknown = page["items"] ?? [];
  const { resourceVersion } = metadata;
  const continueToken = metadata["continue"] ?? "";
  if (!Array.isArray(items) || typeof resourceVersion !== "string" || resourceVersion === "") {
    throw new KubeError("protocol", "a page of the list has no items or no resource version");
  }
  if (typeof continueToken !== "string") throw new KubeError("protocol", "a continue token is no text");
  return { items, resourceVersion, continueToken };
}
