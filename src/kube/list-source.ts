import type { Clock } from "../clock.ts";
import type { KubeError, KubeErrorKind } from "./errors.ts";

/**
 * Ways to get all objects of a resource, the cheapest for the API server first.
 * - `stream`: a watch that begins with all objects; the server sends them from its memory, one by one
 * - `cache`: one list not older than the position, from the server's memory
 * - `pages`: a consistent list in pages; read from etcd before Kubernetes 1.31, and in part before 1.34
 * - `whole`: a consistent list in one answer, for servers whose history ends before the pages do
 */
export type ListSource = "stream" | "cache" | "pages" | "whole";

/** The source to use after a failure, and whether to use it at once. */
export interface NextSource {
  readonly source: ListSource;
  /** True: the server has just said that another way is needed. False: wait before the next request. */
  readonly isImmediate: boolean;
}

/** What is known when a list is due. */
export interface SourceConditions {
  /** Whether the server may support streams. */
  readonly canStream: boolean;
  /** Whether the store has had a resource version. Before that, it cannot go back in time. */
  readonly hasPosition: boolean;
}

export interface SourceFailure {
  readonly source: ListSource;
  readonly error: KubeError;
  /** Whether the server began to answer, or took too long to begin. */
  readonly wasReached: boolean;
}

export function firstSource({ canStream, hasPosition }: SourceConditions): ListSource {
  return canStream ? "stream" : hasPosition ? "cache" : "pages";
}

/** Chooses the source after a failure. A source that never works is never the last choice. */
export function nextSource({ source, error, wasReached }: SourceFailure, conditions: SourceConditions): NextSource {
  const again = { source, isImmediate: false };
  switch (error.kind) {
    case "credentials":
    case "unauthorized":
    case "throttled":
    case "missing":
      return again;
    case "unreachable":
      return wasReached ? { source: sourceAfter(source, conditions), isImmediate: false } : again;
    case "ahead":
      // A server whose cache is behind asks etcd for a consistent list.
      return { source: source === "pages" ? "whole" : "pages", isImmediate: source === "stream" || source === "cache" };
    case "expired":
      if (source === "pages") return { source: "whole", isImmediate: true };
      return { source: sourceAfter(source, conditions), isImmediate: source !== "whole" };
    case "protocol":
      if (source === "pages") return { source: "whole", isImmediate: false };
      return { source: sourceAfter(source, conditions), isImmediate: source !== "whole" };
    case "forbidden":
    case "conflict":
    case "refused":
      return { source: sourceAfter(source, conditions), isImmediate: source === "stream" || source === "cache" };
    case "server":
    case "silent":
      return { source: sourceAfter(source, conditions), isImmediate: source === "stream" };
    default:
      return error.kind satisfies never;
  }
}

function sourceAfter(source: ListSource, conditions: SourceConditions): ListSource {
  switch (source) {
    case "stream":
      return conditions.hasPosition ? "cache" : "pages";
    case "cache":
      return "pages";
    case "pages":
    case "whole":
      return firstSource(conditions);
    default:
      return source satisfies never;
  }
}

/** How a server without support for streams answers a request for one. */
const STREAM_REFUSALS: ReadonlySet<KubeErrorKind> = new Set<KubeErrorKind>(["refused", "protocol", "silent"]);

/** Remembers which source is due, and whether the server supports streams. */
export class ListSources {
  readonly #clock: Clock;
  readonly #streamRetryMs: number;
  /** Monotonic milliseconds after which the server may be asked for a stream. */
  #streamsFromMs = Number.NEGATIVE_INFINITY;
  #due: ListSource | undefined;

  /** @param streamRetryMs How long a server that refused a stream is not asked again, in milliseconds. */
  constructor(clock: Clock, streamRetryMs: number) {
    this.#clock = clock;
    this.#streamRetryMs = streamRetryMs;
    this.#due = "stream";
  }

  /** The source to use now; undefined if no list is due. */
  get due(): ListSource | undefined {
    return this.#due;
  }

  /** Makes a list due. @param hasPosition Whether the store has had a resource version. */
  begin(hasPosition: boolean): void {
    this.#due = firstSource(this.#conditions(hasPosition));
  }

  /** Call it when the store has been filled. */
  end(): void {
    this.#due = undefined;
  }

  /** Forgets that the server refused streams: another server may answer from now on. */
  forget(): void {
    this.#streamsFromMs = Number.NEGATIVE_INFINITY;
  }

  /** Chooses the next source after the due one has failed. */
  fail(failure: Omit<SourceFailure, "source">, hasPosition: boolean): NextSource {
    const source = this.#due ?? "stream";
    if (source === "stream" && STREAM_REFUSALS.has(failure.error.kind)) {
      this.#streamsFromMs = this.#clock.monotonic() + this.#streamRetryMs;
    }
    const next = nextSource({ source, ...failure }, this.#conditions(hasPosition));
    this.#due = next.source;
    return next;
  }

  #conditions(hasPosition: boolean): SourceConditions {
    return { canStream: this.#clock.monotonic() >= this.#streamsFromMs, hasPosition };
  }
}
