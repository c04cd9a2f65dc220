import { BadQuestion, readCount, readSearch, readWord } from "./parameters.ts";

/** Sandboxes in one page of the list: the default, and the maximum, which is about 300 KB of JSON. */
export const PAGE_ROWS = 100;
export const PAGE_ROWS_MAX = 500;
/** The longest name and namespace in Kubernetes. Longer texts cannot match. */
const SEARCH_MAX_CHARS = 253;
const NAMESPACE_MAX_CHARS = 63;
/** A cursor holds one of each, in base64. */
const CURSOR_MAX_CHARS = 1_024;

export const SANDBOX_STATES = ["ready", "not-ready", "ambiguous"] as const;
export type SandboxState = (typeof SANDBOX_STATES)[number];

export const SANDBOX_SORTS = ["name", "state", "since", "last-use", "open", "errors"] as const;
export type SandboxSort = (typeof SANDBOX_SORTS)[number];

/** A place in the order of a list, between two pages. */
export interface SandboxPlace {
  readonly key: number;
  readonly name: string;
  readonly namespace: string;
}

/** A question to the list. */
export interface SandboxQuery {
  readonly limit: number;
  /** Part of a name, namespace, uid or address, in lower case; empty: all. */
  readonly search: string;
  readonly state: SandboxState | undefined;
  /** Empty: all. */
  readonly namespace: string;
  readonly sort: SandboxSort;
  readonly isDescending: boolean;
  /** Only sandboxes after this place; undefined: from the beginning. */
  readonly after: SandboxPlace | undefined;
}

/**
 * Reads `limit`, `q`, `state`, `namespace`, `sort`, `order` and `cursor`. By default names and states ascend, and
 * numbers and times descend. Throws BadQuestion.
 */
export function readSandboxQuery(url: URL): SandboxQuery {
  const sort = readWord(url, "sort", SANDBOX_SORTS) ?? "name";
  const rises = sort === "name" || sort === "state";
  const order = readWord(url, "order", ["asc", "desc"]) ?? (rises ? "asc" : "desc");
  const cursor = url.searchParams.get("cursor") ?? "";
  return {
    limit: readCount(url, "limit", { fallback: PAGE_ROWS, max: PAGE_ROWS_MAX }),
    search: readSearch(url, "q", SEARCH_MAX_CHARS),
    state: readWord(url, "state", SANDBOX_STATES),
    namespace: readSearch(url, "namespace", NAMESPACE_MAX_CHARS),
    sort,
    isDescending: order === "desc",
    after: cursor === "" ? undefined : parseCursor(cursor),
  };
}

/** Formats a place. Clients must not interpret it, since it may change with any version. */
export function formatCursor({ key, name, namespace }: SandboxPlace): string {
  return Buffer.from(JSON.stringify([key, name, namespace])).toString("base64url");
}

function parseCursor(cursor: string): SandboxPlace {
  try {
    if (cursor.length > CURSOR_MAX_CHARS) throw new Error("too long");
    const place: unknown = JSON.parse(Buffer.from(cursor, "base64url").toString("utf8"));
    const parts: readonly unknown[] = Array.isArray(place) ? place : [];
    const [key, name, namespace] = parts;
    if (typeof key !== "number" || typeof name !== "string" || typeof namespace !== "string") throw new Error("other");
    return { key, name, namespace };
  } catch {
    throw new BadQuestion("invalid cursor");
  }
}

/** Below zero: `a` comes first. Names break ties, so that the order is the same on every page. */
export function comparePlaces(a: SandboxPlace, b: SandboxPlace, options: { readonly isDescending: boolean }): number {
  const sign = options.isDescending ? -1 : 1;
  if (a.key !== b.key) return a.key < b.key ? -sign : sign;
  if (a.name !== b.name) return (a.name < b.name ? -1 : 1) * sign;
  if (a.namespace === b.namespace) return 0;
  return (a.namespace < b.namespace ? -1 : 1) * sign;
}
