import type { IngressErrorCode } from "../errors.ts";
import { CounterCells, HistogramCells, type HistogramSource, type HistogramSpec } from "./cells.ts";
import { LatencyBuckets } from "./latency-buckets.ts";
import type {
  ConnectResult,
  ParkOutcome,
  ProxyMetrics,
  ProxyType,
  RoutingResult,
  WakeOutcome,
} from "./proxy-metrics.ts";
import { RequestCells } from "./request-cells.ts";

/** OpenTelemetry's default bounds, as in the Go ingress, in milliseconds. */
const REQUEST_BOUNDS_MS = [0, 5, 10, 25, 50, 75, 100, 250, 500, 750, 1_000, 2_500, 5_000, 7_500, 10_000] as const;
/** Bounds for look-ups, in milliseconds. A look-up takes microseconds, or seconds before the first sync. */
const RESOLUTION_BOUNDS_MS = [
  0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 50, 100, 500, 1_000, 2_500, 5_000, 10_000,
] as const;
const EVENT_LOOP_BOUNDS_MS = [1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500] as const;

/** OpenTelemetry's default bounds again, now of seconds: the reference names none. */
const PARK_BOUNDS_S = [0, 5, 10, 25, 50, 75, 100, 250, 500, 750, 1_000, 2_500, 5_000, 7_500, 10_000] as const;
const MS_PER_SECOND = 1_000;

const REQUEST_DURATION: HistogramSpec = {
  name: "ingress.http.request.duration",
  unit: "ms",
  description: "Duration of requests, from the head of the request to the end of the answer or of the WebSocket",
  bounds: REQUEST_BOUNDS_MS,
};
const FIRST_BYTE_DURATION: HistogramSpec = {
  name: "ingress.http.first_byte.duration",
  unit: "ms",
  description: "Time from the head of the request to the head of the sandbox's answer",
  bounds: REQUEST_BOUNDS_MS,
};
const RESOLUTION_DURATION: HistogramSpec = {
  name: "ingress.routing.resolution.duration",
  unit: "ms",
  description: "Duration of look-ups of sandboxes",
  bounds: RESOLUTION_BOUNDS_MS,
};
const CONNECT_DURATION: HistogramSpec = {
  name: "ingress.upstream.connect.duration",
  unit: "ms",
  description: "Duration of connects to sandboxes: all for WebSockets, only failed ones for other requests",
  bounds: REQUEST_BOUNDS_MS,
};
const PARK_WAIT: HistogramSpec = {
  name: "ingress.park.wait.duration",
  unit: "s",
  description: "Time that requests waited for a paused sandbox to run",
  bounds: PARK_BOUNDS_S,
};
const EVENT_LOOP_DELAY: HistogramSpec = {
  name: "ingress.process.event_loop.delay",
  unit: "ms",
  description: "How late timers fire: every request waits this long",
  bounds: EVENT_LOOP_BOUNDS_MS,
};

type UpstreamFailure = IngressErrorCode & `upstream_${string}`;

/** The numbers that the proxy changes, and the functions that change them. */
export interface ProxyCells {
  readonly report: ProxyMetrics;
  readonly requests: RequestCells;
  readonly refusals: CounterCells<IngressErrorCode>;
  readonly upstreamFailures: CounterCells<UpstreamFailure>;
  readonly resolutions: CounterCells<RoutingResult>;
  readonly connects: CounterCells<ConnectKey>;
  /** Requests that met a paused sandbox. */
  readonly wakes: CounterCells<WakeOutcome>;
  readonly eventLoopDelays: HistogramCells<undefined>;
  /** Bytes moved by exchanges that have ended. */
  readonly moved: Readonly<Record<ProxyType, { in: number; out: number }>>;
  /** Durations of requests without WebSockets, for quantiles. */
  readonly latencies: LatencyBuckets;
  /** All histograms, including those above. */
  readonly histograms: readonly HistogramSource[];
  readonly open: {
    requests: number;
    tunnels: number;
    tunnelsInAll: number;
    endedForMemory: number;
    parked: number;
    parksShed: number;
  };
}

export function createProxyCells(): ProxyCells {
  const requests = new RequestCells(REQUEST_DURATION);
  const refusals = new CounterCells((code: IngressErrorCode) => ({ code }));
  const upstreamFailures = new CounterCells((code: UpstreamFailure) => ({ kind: code.slice("upstream_".length) }));
  const routingLabels = (result: RoutingResult) => ({ routing_result: result });
  const resolutions = new CounterCells(routingLabels);
  const resolutionDurations = new HistogramCells(RESOLUTION_DURATION, routingLabels);
  const connects = new CounterCells(connectLabels);
  const connectDurations = new HistogramCells(CONNECT_DURATION, connectLabels);
  const eventLoopDelays = new HistogramCells(EVENT_LOOP_DELAY, (_key: undefined) => ({}));
  const wakes = new CounterCells((outcome: WakeOutcome) => ({ outcome }));
  const parkWaits = new HistogramCells(PARK_WAIT, (outcome: ParkOutcome) => ({ outcome }));
  const firstBytes = new HistogramCells(FIRST_BYTE_DURATION, (proxy_type: ProxyType) => ({ proxy_type }));
  const firstByteOf = { http: firstBytes.at("http"), websocket: firstBytes.at("websocket") };
  const moved = { http: { in: 0, out: 0 }, websocket: { in: 0, out: 0 } };
  const latencies = new LatencyBuckets();
  const open = { requests: 0, tunnels: 0, tunnelsInAll: 0, endedForMemory: 0, parked: 0, parksShed: 0 };
  const report: ProxyMetrics = {
    requestStarted() {
      open.requests += 1;
    },
    requestEnded(method, status, form, proxyType, durationMs) {
      open.requests -= 1;
      requests.record(method, status, form, { type: proxyType, durationMs });
      if (proxyType === "http") latencies.record(durationMs);
    },
    answered(proxyType, afterMs) {
      firstByteOf[proxyType].record(afterMs);
    },
    moved(proxyType, bytes) {
      moved[proxyType].in += bytes.in;
      moved[proxyType].out += bytes.out;
    },
    refused(code) {
      refusals.add(code);
      if (isUpstreamFailure(code)) upstreamFailures.add(code);
    },
    resolved(result, durationMs) {
      resolutions.add(result);
      resolutionDurations.at(result).record(durationMs);
    },
    connected(result, proxyType, durationMs) {
      const key: ConnectKey = `${result} ${proxyType}`;
      connects.add(key);
      connectDurations.at(key).record(durationMs);
    },
    endedForMemory() {
      open.endedForMemory += 1;
    },
    tunnelOpened() {
      open.tunnels += 1;
      open.tunnelsInAll += 1;
    },
    tunnelClosed() {
      open.tunnels -= 1;
    },
    wakeAsked: (outcome) => wakes.add(outcome),
    parked() {
      open.parked += 1;
    },
    unparked(outcome, durationMs) {
      open.parked -= 1;
      parkWaits.at(outcome).record(durationMs / MS_PER_SECOND);
    },
    parkShed() {
      open.parksShed += 1;
    },
  };
  return {
    report,
    requests,
    refusals,
    upstreamFailures,
    resolutions,
    connects,
    wakes,
    eventLoopDelays,
    moved,
    latencies,
    histograms: [requests.durations, firstBytes, resolutionDurations, connectDurations, eventLoopDelays, parkWaits],
    open,
  };
}

type ConnectKey = `${ConnectResult} ${ProxyType}`;

function connectLabels(key: ConnectKey) {
  const [connect_result = "", proxy_type = ""] = key.split(" ");
  return { connect_result, proxy_type };
}

function isUpstreamFailure(code: IngressErrorCode): code is UpstreamFailure {
  return code.startsWith("upstream_");
}
