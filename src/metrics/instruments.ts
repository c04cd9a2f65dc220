import { byLabel, type InstrumentSpec, type Reading } from "./instrument.ts";
import { listResourceInstruments } from "./process-instruments.ts";
import { listTlsInstruments } from "./tls-instruments.ts";
import type { MetricsSources } from "./sources.ts";
import type { ProxyCells } from "./proxy-cells.ts";

/** The counts of the proxy. */
export function listProxyInstruments(cells: ProxyCells, current: () => MetricsSources): readonly InstrumentSpec[] {
  const { requests, refusals, upstreamFailures, resolutions, connects, wakes, open } = cells;
  return [
    {
      name: "ingress.http.request.count",
      kind: "counter",
      description: "Requests that ended",
      read: () => requests.counts(),
    },
    {
      name: "ingress.http.request.active",
      kind: "sum",
      description: "Requests in flight",
      read: () => open.requests,
    },
    {
      name: "ingress.http.body_bytes",
      kind: "counter",
      unit: "By",
      description: "Bytes of bodies and WebSocket messages, from clients (in) and to clients (out)",
      read: () => readBytes(cells, current().openBytes?.()),
    },
    {
      name: "ingress.http.refusal.count",
      kind: "counter",
      description: "Requests that the ingress refused or could not forward",
      read: () => refusals.values(),
    },
    {
      name: "ingress.http.fault.count",
      kind: "counter",
      description: "Requests that failed by a fault of the ingress itself: bugs",
      read: () => readFaults(cells),
    },
    {
      name: "ingress.upstream.failure.count",
      kind: "counter",
      description: "Requests that failed in a sandbox",
      read: () => upstreamFailures.values(),
    },
    {
      name: "ingress.upstream.connect.count",
      kind: "counter",
      description: "Connects to sandboxes: all for WebSockets, only failed ones for other requests",
      read: () => connects.values(),
    },
    {
      name: "ingress.routing.resolutions.count",
      kind: "counter",
      description: "Look-ups of sandboxes",
      read: () => resolutions.values(),
    },
    {
      name: "ingress.memory.ended.count",
      kind: "counter",
      description: "Requests and WebSockets ended because memory was low",
      read: () => open.endedForMemory,
    },
    {
      name: "ingress.wake.flights",
      kind: "counter",
      description: "Requests for paused sandboxes that may wake them, by whether they did",
      read: () => wakes.values(),
    },
    {
      name: "ingress.park.active",
      kind: "sum",
      description: "Requests that wait for a paused sandbox to run",
      read: () => open.parked,
    },
    {
      name: "ingress.park.shed",
      kind: "counter",
      description: "Requests for paused sandboxes that found no place to wait",
      read: () => open.parksShed,
    },
    { name: "ingress.tunnel.active", kind: "sum", description: "Open WebSockets", read: () => open.tunnels },
    {
      name: "ingress.tunnel.count",
      kind: "counter",
      description: "WebSockets opened since the start",
      read: () => open.tunnelsInAll,
    },
  ];
}

/** The counts of other parts. */
export function listSourceInstruments(current: () => MetricsSources): readonly InstrumentSpec[] {
  return [
    {
      name: "ingress.sandbox.count",
      kind: "gauge",
      description: "Known sandboxes",
      read: () => byLabel("state", toStates(current().sandboxCounts?.())),
    },
    {
      name: "ingress.sandbox.namesake.count",
      kind: "counter",
      description: "Pairs of sandboxes in different namespaces that share an id: requests for it are refused",
      read: () => current().namesakes?.(),
    },
    {
      name: "ingress.hold.active",
      kind: "gauge",
      description: "Requests that wait for a sandbox to become ready, or for its port",
      read: () => current().waits?.().held,
    },
    {
      name: "ingress.wake.active",
      kind: "gauge",
      description: "Paused sandboxes that are being woken",
      read: () => current().waits?.().waking,
    },
    {
      name: "ingress.sandbox.table.synced",
      kind: "gauge",
      description: "1 when the list of sandboxes is complete",
      read: () => {
        const status = current().providerStatus?.();
        return status === undefined ? undefined : Number(status.synced);
      },
    },
    {
      name: "ingress.sandbox.table.age",
      kind: "gauge",
      unit: "ms",
      description: "Time since the list of sandboxes was last known to equal its source",
      read: () => current().providerStatus?.().ageMs,
    },
    {
      name: "ingress.kubernetes.list.count",
      kind: "counter",
      description: "Complete lists of sandboxes, by why they were needed: initial, or what ended the watch before",
      read: () => byLabel("reason", current().watching?.()?.lists ?? {}),
    },
    {
      name: "ingress.kubernetes.watch.end.count",
      kind: "counter",
      description: "Watches of sandboxes that ended, by reason; ended is the ordinary one",
      read: () => byLabel("reason", current().watching?.()?.watchEnds ?? {}),
    },
    {
      name: "ingress.renew.intent.count",
      kind: "counter",
      description: "Renew intents by result",
      read: () => {
        const intents = current().renewIntents?.();
        if (intents === undefined) return undefined;
        const { published, dropped, throttled } = intents;
        return byLabel("result", { published, dropped, throttled });
      },
    },
    {
      name: "ingress.activity.writes",
      kind: "counter",
      description: "Notes of the last use of sandboxes that Redis took",
      read: () => current().activityNotes?.()?.written,
    },
    {
      name: "ingress.activity.writes_dropped",
      kind: "counter",
      description: "Notes of the last use of sandboxes that were dropped",
      read: () => current().activityNotes?.()?.dropped,
    },
    {
      name: "ingress.renew.failure.count",
      kind: "counter",
      description: "Failed attempts to reach Redis or to publish to it",
      read: () => current().renewIntents?.().failed,
    },
    {
      name: "ingress.renew.intent.queued",
      kind: "gauge",
      description: "Waiting renew intents",
      read: () => current().renewIntents?.().queued,
    },
    {
      name: "ingress.renew.healthy",
      kind: "gauge",
      description: "1 when the last attempt to publish renew intents succeeded",
      read: () => {
        const intents = current().renewIntents?.();
        return intents === undefined ? undefined : Number(intents.healthy);
      },
    },
    {
      name: "ingress.process.fault.count",
      kind: "counter",
      description: "Exceptions and rejections that belong to no request: each is a bug and ends the process in order",
      read: () => current().internalFaults?.(),
    },
    {
      name: "ingress.trace.span.count",
      kind: "counter",
      description: "Spans by result: exported, dropped for want of a place, or failed because the collector took none",
      read: () => {
        const spans = current().spans?.();
        if (spans === undefined) return undefined;
        const { exported, dropped, failed } = spans;
        return byLabel("result", { exported, dropped, failed });
      },
    },
    {
      name: "ingress.log.dropped.count",
      kind: "counter",
      description: "Log lines lost because the reader stalled",
      read: () => current().droppedLogLines?.(),
    },
    {
      name: "ingress.access.failure.count",
      kind: "counter",
      description: "Wrong signatures of routes",
      read: () => current().accessFailures?.().failures,
    },
    {
      name: "ingress.access.sandbox.throttled",
      kind: "gauge",
      description: "Sandboxes whose budget of wrong signatures is used up",
      read: () => current().accessFailures?.().exhaustedSandboxes,
    },
    ...listTlsInstruments(current),
    ...listResourceInstruments(current),
  ];
}

/** There from the beginning, so that an alert sees the first one: the series of a refusal begins with its first. */
function readFaults({ refusals }: ProxyCells): number {
  for (const { labels, value } of refusals.values()) if (labels["code"] === "internal") return value;
  return 0;
}

/** Both what has ended and what is open, so that a stream of hours counts while it moves. */
function readBytes(
  { moved }: ProxyCells,
  open: ReturnType<NonNullable<MetricsSources["openBytes"]>> | undefined,
): Reading {
  return (["http", "websocket"] as const).flatMap((proxy_type) =>
    (["in", "out"] as const).map((direction) => ({
      labels: { direction, proxy_type },
      value: moved[proxy_type][direction] + (open?.[proxy_type][direction] ?? 0),
    })),
  );
}

type SandboxCounts = ReturnType<NonNullable<MetricsSources["sandboxCounts"]>>;

function toStates(counts: SandboxCounts | undefined): Readonly<Record<string, number>> {
  if (counts === undefined) return {};
  return { ready: counts.ready, not_ready: counts.notReady, ambiguous: counts.ambiguous };
}
