import type { Route } from "../route/route.ts";
import type { Span } from "./span.ts";
import { formatTraceParent, TRACE_PARENT_HEADER, TRACE_STATE_HEADER } from "./trace-context.ts";

/** How a request began, as far as its trace is concerned. */
export interface TraceStart {
  readonly traceId: string;
  /** The sender's span; undefined: the trace begins here. */
  readonly parentSpanId: string | undefined;
  readonly serverSpanId: string;
  /** The id that the sandbox gets as its parent. */
  readonly clientSpanId: string;
  /** Whether there is a `tracestate` that is invalid or belongs to no trace. */
  readonly dropsState: boolean;
  /** Wall-clock and monotonic milliseconds. */
  readonly startMs: number;
  readonly startedAt: number;
}

/** How a request ended. */
export interface TraceOutcome {
  readonly method: string;
  /** The status that the client got; 0: none. */
  readonly status: number;
  /** Whether that is the sandbox's status. */
  readonly isFromSandbox: boolean;
  /** Why the ingress refused, or the answer was cut; undefined: neither happened. */
  readonly code: string | undefined;
  /** Undefined: the request has no route. */
  readonly route: Route | undefined;
  /** Monotonic milliseconds. */
  readonly endedAt: number;
}

/** Takes spans that are over. Never throws. */
export type SpanSink = (span: Span) => void;

/** Statuses from here on are errors of a server, and for whoever asked also those of the client (HTTP spans). */
const SERVER_ERROR_MIN = 500;
const CLIENT_ERROR_MIN = 400;
/** The code of a client that left early, which is normal. */
const CLIENT_CLOSED = "client_closed";

/** Known to the semantic conventions. Anyone can invent others, which become `_OTHER`, with `HTTP` as the span's name. */
const METHODS: ReadonlySet<string> = new Set([
  "CONNECT",
  "DELETE",
  "GET",
  "HEAD",
  "OPTIONS",
  "PATCH",
  "POST",
  "PUT",
  "TRACE",
]);

/**
 * The trace of one request: one span for the request of the client, and one for that to the sandbox if it is sent. Names
 * follow OpenTelemetry's semantic conventions for HTTP spans, without what may be a credential or tells an address:
 * `url.*`, `http.route`, `server.address`, `client.address`, headers.
 */
export class RequestTrace {
  readonly #start: TraceStart;
  readonly #sink: SpanSink | undefined;
  /** Monotonic ms of the last attempt to reach the sandbox; undefined: there was none. */
  #forwardedAt: number | undefined;
  #isOver = false;

  /** @param sink Undefined: the request is not recorded. */
  constructor(start: TraceStart, sink: SpanSink | undefined) {
    this.#start = start;
    this.#sink = sink;
  }

  /** Whether `end` does anything. */
  get isRecorded(): boolean {
    return this.#sink !== undefined && !this.#isOver;
  }

  /** Writes the context for the sandbox. Call it once for each attempt, when other headers have been rewritten. */
  forward(headers: Headers, nowMs: number): void {
    const { traceId, clientSpanId, dropsState } = this.#start;
    headers.set(TRACE_PARENT_HEADER, formatTraceParent(traceId, clientSpanId, this.#sink === undefined ? "00" : "01"));
    if (dropsState) headers.delete(TRACE_STATE_HEADER);
    this.#forwardedAt = nowMs;
  }

  /** Records the spans. Later calls do nothing. */
  end(outcome: TraceOutcome): void {
    const sink = this.#sink;
    if (sink === undefined || this.#isOver) return;
    this.#isOver = true;
    sink(this.#serverSpan(outcome));
    if (this.#forwardedAt !== undefined) sink(this.#clientSpan(outcome, this.#forwardedAt));
  }

  #serverSpan(outcome: TraceOutcome): Span {
    const { status, isFromSandbox, code, route } = outcome;
    const { parentSpanId, serverSpanId, startedAt } = this.#start;
    const isCut = isFromSandbox && code !== undefined && code !== CLIENT_CLOSED;
    const attributes: Record<string, string | number> = describe(outcome, status);
    if (route !== undefined) attributes["opensandbox.sandbox.port"] = route.port;
    const type = code ?? (status >= SERVER_ERROR_MIN ? String(status) : undefined);
    if (type !== undefined) attributes["error.type"] = type;
    return {
      ...this.#common(outcome, { spanId: serverSpanId, parentSpanId, from: startedAt }),
      kind: "server",
      isError: status === 0 || status >= SERVER_ERROR_MIN || isCut,
      attributes,
    };
  }

  #clientSpan(outcome: TraceOutcome, from: number): Span {
    const { status, isFromSandbox, code, route } = outcome;
    const { clientSpanId: spanId, serverSpanId: parentSpanId } = this.#start;
    const attributes: Record<string, string | number> = describe(outcome, isFromSandbox ? status : 0);
    if (route !== undefined) attributes["server.port"] = route.port;
    const isRefusal = isFromSandbox && status >= CLIENT_ERROR_MIN;
    const type = isRefusal ? String(status) : code;
    if (type !== undefined) attributes["error.type"] = type;
    return {
      ...this.#common(outcome, { spanId, parentSpanId, from }),
      kind: "client",
      isError: isRefusal || (code !== undefined && code !== CLIENT_CLOSED),
      attributes,
    };
  }

  #common(
    { method, endedAt }: TraceOutcome,
    { spanId, parentSpanId, from }: { spanId: string; parentSpanId: string | undefined; from: number },
  ): Pick<Span, "name" | "traceId" | "spanId" | "parentSpanId" | "startMs" | "endMs"> {
    const { traceId, startMs, startedAt } = this.#start;
    return {
      name: METHODS.has(method) ? method : "HTTP",
      traceId: copyText(traceId),
      spanId,
      parentSpanId: parentSpanId === undefined ? undefined : copyText(parentSpanId),
      startMs: startMs + (from - startedAt),
      endMs: startMs + (endedAt - startedAt),
    };
  }
}

/** @param status 0: there is none. */
function describe({ method, route }: TraceOutcome, status: number): Record<string, string | number> {
  const attributes: Record<string, string | number> = {
    "http.request.method": METHODS.has(method) ? method : "_OTHER",
    "opensandbox.route.form": route?.form ?? "none",
  };
  if (route !== undefined) attributes["opensandbox.sandbox.id"] = copyText(route.sandboxId);
  if (status !== 0) attributes["http.response.status_code"] = status;
  return attributes;
}

/** A part of a text keeps the whole of it in memory, and spans wait longer than requests. */
function copyText(text: string): string {
  return Buffer.from(text).toString();
}
