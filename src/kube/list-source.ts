import type { Clock } from "../clock.ts";
import type { KubeError, KubeErrorKind } from "./errors.ts";

/**
 * Where all objects of a resource can be had, the kindest to the API server first.
 * - `stream`: a watch that begins with all objects; the server sends them from its memory, one by one
 * - `cache`: one list not older than the position, from the server's memory
 * - `pages`: a consistent list in pages; before Kubernetes 1.31, and in part before 1.34, read from etcd
 * - `whole`: a consistent list in one answer, when history ends before the pages do
 */
export type ListSource = "stream" | "cache" | "pages" | "whole";

/** Which source comes after a failed one, and whether at once. */
export interface NextSource {
  readonly source: ListSource;
  /** True: the server has just said that another way is needed. False: it is to be left alone for a while. */
  readonly isImmediate: boolean;
}

/** What is known when a list is due. */
export interface SourceConditions {
  /** Whether the server is thought to serve streams. */
  readonly canStream: boolean;
  /** Whether the store has been at a resource version: before, there is nothing to go back from. */
  readonly hasPosition: boolean;
}

/** What failed. */
export interface SourceFailure {
  readonly source: ListSource;
  readonly error: KubeError;
  /** Whether the server had begun to answer, or took too long to begin. */
  readonly wasReached: boolean;
}

export function firstSource({ canStream, hasPosition }: SourceConditions): ListSource {
  return canStream ? "stream" : hasPosition ? "cache" : "pages";
}

/** The way on after a failure, so that no source that never works can be the last word. */
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
      // A server that is behind in its memory asks etcd for a consistent list.
      return { source: source === "pages" ? "whole" : "pages", isImmediate: source === "stream" || source === "cache" };
    case "expired":
      if (source === "pages") return { source: "whole", isImmediate: true };
      return { source: sourceAfter(source, conditions), isImmediate: source !== "whole" };
    case "protocol":
      if (source === "pages") return { source: "whole", isImmediate: false };
      return { source: sourceAfter(source, conditions), isImmediate: source !== "whole" };
    case "forbidden":
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

/** What a server that does not serve streams of objects answers to the request for one. */
const STREAM_REFUSALS: ReadonlySet<KubeErrorKind> = new Set<KubeErrorKind>(["refused", "protocol", "silent"]);

/** Remembers which source is due, and whether the server serves streams. */
export class ListSources {
  readonly #clock: Clock;
  readonly #streamRetryMs: number;
  /** Monotonic milliseconds from which on the server is asked for a stream. */
  #streamsFromMs = Number.NEGATIVE_INFINITY;
  #due: ListSource | undefined;

  /** @param streamRetryMs For how long a server that refused a stream is not asked for one, in milliseconds. */
  constructor(clock: Clock, streamRetryMs: number) {
    this.#clock = clock;
    this.#streamRetryMs = streamRetryMs;
    this.#due = "stream";
  }

  /** The source to use now; undefined: no list is due. */
  get due(): ListSource | undefined {
    return this.#due;
  }

  /** A list is due. @param hasPosition Whether the store has been at a resource version. */
  begin(hasPosition: boolean): void {
    this.#due = firstSource(this.#conditions(hasPosition));
  }

  /** The store has been filled. */
  end(): void {
    this.#due = undefined;
  }

  /** Forgets that the server refused streams: another one may answer from now on. */
  forget(): void {
    this.#streamsFromMs = Number.NEGATIVE_INFINITY;
  }

  /** Chooses the source after the one that is due has failed. */
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
