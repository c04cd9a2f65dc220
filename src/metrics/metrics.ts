import { AggregationTemporalityPreference, OTLPMetricExporter } from "@opentelemetry/exporter-metrics-otlp-http";
import { PrometheusSerializer } from "@opentelemetry/exporter-prometheus";
import {
  AggregationTemporality,
  type CollectionResult,
  DataPointType,
  type HistogramMetricData,
  MeterProvider,
  type MetricProducer,
  MetricReader,
  PeriodicExportingMetricReader,
} from "@opentelemetry/sdk-metrics";

import { type Clock, sleep } from "../clock.ts";
import type { OtlpConfig } from "./otlp-config.ts";
import type { Logger } from "../log/logger.ts";
import { ActivityWatch } from "./activity.ts";
import type { HistogramCell, HistogramSource } from "./cells.ts";
import type { InstrumentSpec } from "./instrument.ts";
import { listProxyInstruments, listSourceInstruments } from "./instruments.ts";
import { listHostInstruments, listProcessInstruments } from "./process-instruments.ts";
import { watchEventLoop } from "./event-loop.ts";
import { type HrTime, type Meter, ValueType } from "./otel.ts";
import { PushLog } from "./push-log.ts";
import { createResource, emptyResource } from "./resource.ts";
import type { Metrics, MetricsSources, ProcessProbe } from "./sources.ts";
import { createProxyCells } from "./proxy-cells.ts";
import type { BuildInfo } from "../version.ts";

export type { Activity, Metrics, MetricsSources, ProcessProbe } from "./sources.ts";
export {
  type ByteCounts,
  type ConnectResult,
  noProxyMetrics,
  type ParkOutcome,
  type ProxyMetrics,
  type ProxyType,
  type RoutingResult,
} from "./proxy-metrics.ts";

/** Names of docs/contract.md §8: dashboards of the Go ingress select by them. */
const METER_NAME = "opensandbox/ingress";
const PROMETHEUS_PREFIX = "opensandbox";
/** Longest time of the last push in `stop`, in milliseconds: a part of the time after the drain. */
const METRICS_FLUSH_MAX_MS = 2_000;
const MS_PER_SECOND = 1_000;

export interface MetricsOptions {
  readonly buildInfo: BuildInfo;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly process: ProcessProbe;
  /** Undefined: metrics are not pushed. */
  readonly otlp: OtlpConfig | undefined;
}

/**
 * Creates the metrics. The proxy only changes numbers in cells, in well under a microsecond per request. Counters and
 * gauges are observable instruments that read the cells. OpenTelemetry has no observable histograms, so a metric
 * producer reads those. Scrape and push read the same cells.
 */
export function createMetrics(options: MetricsOptions): Metrics {
  const { buildInfo, clock, otlp } = options;
  const startMs = clock.now();
  const cells = createProxyCells();
  const stopWatching = watchEventLoop(clock, cells.eventLoopDelays.at(undefined));
  const histograms = (temporality: AggregationTemporality) =>
    new HistogramProducer({ sources: cells.histograms, clock, startMs, temporality });
  const activity = new ActivityWatch(cells, clock);
  const scraper = new ScrapeReader({ metricProducers: [histograms(AggregationTemporality.CUMULATIVE)] });
  const pusher = otlp === undefined ? undefined : createPusher(otlp, options.logger, histograms);
  const provider = new MeterProvider({
    resource: createResource(buildInfo),
    readers: pusher === undefined ? [scraper] : [scraper, pusher],
  });
  const sources: { current: MetricsSources } = { current: {} };
  const meter = provider.getMeter(METER_NAME);
  for (const spec of [
    ...listProxyInstruments(cells, () => sources.current),
    ...listSourceInstruments(() => sources.current),
    ...listProcessInstruments(options),
    ...listHostInstruments(clock),
  ]) {
    register(meter, spec);
  }
  const serializer = new PrometheusSerializer(PROMETHEUS_PREFIX, false, undefined, false, true);
  return {
    ...cells.report,
    observe(added) {
      sources.current = { ...sources.current, ...added };
    },
    activity: () => activity.read(),
    async scrape() {
      const { resourceMetrics } = await scraper.collect();
      // The last line must end with a line feed (Prometheus exposition format 0.0.4).
      return `${serializer.serialize(resourceMetrics).trimEnd()}\n`;
    },
    async stop() {
      stopWatching();
      activity.stop();
      if (pusher === undefined) return;
      const done = new AbortController();
      // The exporter has logged any failure.
      const flushed = pusher.shutdown().catch(() => {});
      await Promise.race([flushed.finally(() => done.abort()), sleep(clock, METRICS_FLUSH_MAX_MS, done.signal)]);
    },
  };
}

/** Only `scrape` reads it. */
class ScrapeReader extends MetricReader {
  protected override onForceFlush(): Promise<void> {
    return Promise.resolve();
  }
  protected override onShutdown(): Promise<void> {
    return Promise.resolve();
  }
}

type ProducerOf = (temporality: AggregationTemporality) => MetricProducer;

function createPusher(otlp: OtlpConfig, logger: Logger, producerOf: ProducerOf): PeriodicExportingMetricReader {
  // One push including its retries.
  const timeoutMs = Math.min(otlp.timeoutMs, otlp.intervalMs);
  const isCumulative = otlp.temporality === "cumulative";
  const exporter = new LoggedExporter(logger, {
    url: otlp.url,
    headers: { ...otlp.headers },
    timeoutMillis: timeoutMs,
    concurrencyLimit: 1,
    // `lowmemory` asks for delta for synchronous instruments. In the Go ingress all counters are synchronous, so delta
    // is used here, too.
    temporalityPreference: isCumulative
      ? AggregationTemporalityPreference.CUMULATIVE
      : AggregationTemporalityPreference.DELTA,
  });
  return new PeriodicExportingMetricReader({
    exporter,
    exportIntervalMillis: otlp.intervalMs,
    exportTimeoutMillis: timeoutMs,
    metricProducers: [producerOf(isCumulative ? AggregationTemporality.CUMULATIVE : AggregationTemporality.DELTA)],
  });
}

/** Tells the log how each push ended. */
class LoggedExporter extends OTLPMetricExporter {
  readonly #log: PushLog;

  constructor(logger: Logger, options: ConstructorParameters<typeof OTLPMetricExporter>[0]) {
    super(options);
    this.#log = new PushLog(logger, "metrics");
  }

  override export(...[metrics, done]: Parameters<OTLPMetricExporter["export"]>): void {
    super.export(metrics, (result) => {
      this.#log.note(result.error);
      done(result);
    });
  }
}

interface HistogramProducerOptions {
  readonly sources: readonly HistogramSource[];
  readonly clock: Clock;
  readonly startMs: number;
  readonly temporality: AggregationTemporality;
}

/** The values of a series at the previous reading, the base of a delta. */
interface Reported {
  readonly counts: Float64Array;
  readonly sum: number;
}

/** Reads histogram cells for one reader, in that reader's temporality. */
class HistogramProducer implements MetricProducer {
  readonly #options: HistogramProducerOptions;
  readonly #isDelta: boolean;
  readonly #reported = new Map<HistogramCell, Reported>();
  #startMs: number;

  constructor(options: HistogramProducerOptions) {
    this.#options = options;
    this.#isDelta = options.temporality === AggregationTemporality.DELTA;
    this.#startMs = options.startMs;
  }

  collect(): Promise<CollectionResult> {
    const { sources, clock } = this.#options;
    const endMs = clock.now();
    const times = { startTime: toHrTime(this.#startMs), endTime: toHrTime(endMs) };
    const metrics = sources
      .map((source) => this.#read(source, times))
      .filter(({ dataPoints }) => dataPoints.length > 0);
    if (this.#isDelta) this.#startMs = endMs;
    const resourceMetrics = {
      resource: emptyResource(),
      scopeMetrics: [{ scope: { name: METER_NAME }, metrics }],
    };
    return Promise.resolve({ resourceMetrics, errors: [] });
  }

  #read(source: HistogramSource, times: { startTime: HrTime; endTime: HrTime }): HistogramMetricData {
    const { name, unit, description, bounds } = source.spec;
    const dataPoints: HistogramMetricData["dataPoints"] = [];
    for (const cell of source.values()) {
      const { counts, sum } = this.#take(cell);
      const count = counts.reduce((total, each) => total + each, 0);
      // Delta omits a series without new values.
      if (this.#isDelta && count === 0) continue;
      const buckets = { boundaries: [...bounds], counts: [...counts] };
      dataPoints.push({ ...times, attributes: cell.labels, value: { buckets, sum, count } });
    }
    return {
      descriptor: { name, unit, description, valueType: ValueType.DOUBLE },
      aggregationTemporality: this.#options.temporality,
      dataPointType: DataPointType.HISTOGRAM,
      dataPoints,
    };
  }

  #take(cell: HistogramCell): Reported {
    const now: Reported = { counts: cell.counts.slice(), sum: cell.sum };
    if (!this.#isDelta) return now;
    const before = this.#reported.get(cell);
    this.#reported.set(cell, now);
    if (before === undefined) return now;
    return { counts: now.counts.map((count, at) => count - (before.counts[at] ?? 0)), sum: now.sum - before.sum };
  }
}

function toHrTime(ms: number): HrTime {
  return [Math.floor(ms / MS_PER_SECOND), Math.round((ms % MS_PER_SECOND) * 1e6)];
}

function register(meter: Meter, spec: InstrumentSpec): void {
  const { name, kind, description, unit = "", read } = spec;
  createInstrument(meter, kind)(name, { description, unit }).addCallback(async (result) => {
    const reading = await read();
    if (reading === undefined) return;
    if (typeof reading === "number") return result.observe(reading);
    for (const { labels, value } of reading) result.observe(value, labels);
  });
}

function createInstrument(meter: Meter, kind: InstrumentSpec["kind"]) {
  if (kind === "counter") return meter.createObservableCounter.bind(meter);
  if (kind === "gauge") return meter.createObservableGauge.bind(meter);
  return meter.createObservableUpDownCounter.bind(meter);
}
