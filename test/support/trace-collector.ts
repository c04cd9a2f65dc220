import { systemClock } from "../../src/clock.ts";
import { silentLogger } from "../../src/log/logger.ts";
import { createTracer, type Tracer, type TracerOptions } from "../../src/traces/tracer.ts";
import type { TracesConfig } from "../../src/traces/traces-config.ts";

/** A span as the collector gets it (OTLP in JSON). */
export interface ReceivedSpan {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly name: string;
  readonly kind: number;
  readonly startTimeUnixNano: string;
  readonly endTimeUnixNano: string;
  readonly status: { readonly code?: number };
  readonly attributes: readonly {
    readonly key: string;
    readonly value: { readonly stringValue?: string; readonly intValue?: number };
  }[];
}

interface Push {
  readonly resourceSpans: readonly {
    readonly resource: { readonly attributes: ReceivedSpan["attributes"] };
    readonly scopeSpans: readonly { readonly scope: { readonly name: string }; readonly spans: ReceivedSpan[] }[];
  }[];
}

/** OTLP's numbers for kinds of spans, and for the status of an error. */
export const SERVER = 2;
export const CLIENT = 3;
export const ERROR = 2;

function isPush(value: unknown): value is Push {
  return typeof value === "object" && value !== null && "resourceSpans" in value;
}

/** An OTLP receiver that keeps what it gets. */
export interface TraceCollector extends AsyncDisposable {
  readonly url: string;
  readonly origin: string;
  readonly requests: readonly { readonly path: string; readonly headers: Headers; readonly text: string }[];
  readonly pushes: readonly Push[];
  /** The status of its answers; `silent`: it does not answer. */
  answer: number | "silent";
  spans(): readonly ReceivedSpan[];
}

export function startTraceCollector(): TraceCollector {
  const pushes: Push[] = [];
  const requests: { path: string; headers: Headers; text: string }[] = [];
  const server = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    idleTimeout: 0,
    async fetch(request) {
      const text = await request.text();
      requests.push({ path: new URL(request.url).pathname, headers: request.headers, text });
      if (collector.answer === "silent") return new Promise<Response>(() => {});
      const push: unknown = JSON.parse(text);
      if (collector.answer === 200 && isPush(push)) pushes.push(push);
      return Response.json({}, { status: collector.answer });
    },
  });
  const origin = `http://127.0.0.1:${server.port}`;
  const collector: TraceCollector = {
    url: `${origin}/v1/traces`,
    origin,
    requests,
    pushes,
    answer: 200,
    spans: () => pushes.flatMap((push) => push.resourceSpans.flatMap((r) => r.scopeSpans.flatMap((s) => s.spans))),
    [Symbol.asyncDispose]: () => server.stop(true),
  };
  return collector;
}

export function attributesOf({ attributes }: Pick<ReceivedSpan, "attributes">): Record<string, unknown> {
  return Object.fromEntries(attributes.map(({ key, value }) => [key, value.stringValue ?? value.intValue] as const));
}

/** A tracer of a made-up build that records every request, unless told otherwise. */
export function createTestTracer(
  url: string,
  { sampler, timeoutMs }: Partial<Pick<TracesConfig, "sampler" | "timeoutMs">> = {},
  options: Partial<TracerOptions> = {},
): Tracer {
  return createTracer({
    config: {
      url,
      headers: { "x-key": "v" },
      timeoutMs: timeoutMs ?? 10_000,
      sampler: sampler ?? { ratio: 1, isParentBased: true },
    },
    buildInfo: { version: "1.2.3", commit: "abc", buildTime: "now", bunVersion: "1", platform: "test" },
    clock: systemClock,
    logger: silentLogger,
    ...options,
  });
}
