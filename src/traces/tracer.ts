import type { Clock } from "../clock.ts";
import type { Logger } from "../log/logger.ts";
import { PushLog } from "../metrics/push-log.ts";
import type { BuildInfo } from "../version.ts";
import { createSpanPush } from "./otlp-spans.ts";
import { RequestTrace } from "./request-trace.ts";
import { isSampled } from "./sampler.ts";
import { createSpanIds, type SpanIds } from "./span-ids.ts";
import { type SpanCounts, SpanQueue } from "./span-queue.ts";
import { isTraceState, parseTraceParent } from "./trace-context.ts";
import type { TracesConfig } from "./traces-config.ts";

/** Longest time of the last pushes in `stop`, in milliseconds: a part of the time after the drain. */
export const TRACES_FLUSH_MAX_MS = 2_000;

/** What a request says about its trace. */
export interface IncomingContext {
  /** The headers; undefined: missing. */
  readonly traceparent: string | undefined;
  readonly tracestate: string | undefined;
  /** Whether the peer is trusted, so that its sampled flag counts. */
  readonly isTrusted: boolean;
  /** Monotonic milliseconds when the request came in. */
  readonly startedAt: number;
}

/** Traces requests. */
export interface Tracer {
  begin(incoming: IncomingContext): RequestTrace;
  counts(): SpanCounts;
  /** Pushes what waits, for at most `TRACES_FLUSH_MAX_MS`. Never rejects. */
  stop(): Promise<void>;
}

export interface TracerOptions {
  readonly config: TracesConfig;
  readonly buildInfo: BuildInfo;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Default: random. */
  readonly ids?: SpanIds;
}

/** Creates the tracer. Uses the network only when spans are pushed. */
export function createTracer(options: TracerOptions): Tracer {
  const { config, clock, logger, ids = createSpanIds() } = options;
  const log = new PushLog(logger, "traces");
  const send = createSpanPush(config, options.buildInfo);
  const queue = new SpanQueue({
    clock,
    timeoutMs: config.timeoutMs,
    push: async (spans) => {
      try {
        await send(spans);
        log.note(undefined);
      } catch (thrown) {
        log.note(thrown instanceof Error ? thrown : new Error("unknown"));
        throw thrown;
      }
    },
  });
  const sink = queue.add.bind(queue);
  return {
    begin({ traceparent, tracestate, isTrusted, startedAt }) {
      const parent = parseTraceParent(traceparent);
      const traceId = parent?.traceId ?? ids.nextTraceId();
      const serverSpanId = ids.nextSpanId();
      const isRecorded = isSampled(config.sampler, { parent, isTrusted, traceId, spanId: serverSpanId });
      const start = {
        traceId,
        parentSpanId: parent?.spanId,
        serverSpanId,
        // Without spans of ours, the request itself is the sandbox's parent.
        clientSpanId: isRecorded ? ids.nextSpanId() : serverSpanId,
        // Without a valid parent, the state is not read (W3C Trace Context §3.3).
        dropsState: tracestate !== undefined && (parent === undefined || !isTraceState(tracestate)),
        startMs: clock.now(),
        startedAt,
      };
      return new RequestTrace(start, isRecorded ? sink : undefined);
    },
    counts: () => queue.counts(),
    async stop() {
      const before = queue.counts().dropped;
      await queue.stop(TRACES_FLUSH_MAX_MS);
      const lost = queue.counts().dropped - before;
      if (lost > 0) logger.warn("spans of traces were lost: the collector did not take them in time", { lost });
    },
  };
}
