import type { Labels } from "./cells.ts";
import type { MetricsSources } from "./sources.ts";
import type { ProxyCells } from "./proxy-cells.ts";

/** What an instrument reads: one number, numbers by labels, or undefined if there is no value. */
export type Reading = number | undefined | Iterable<{ readonly labels: Labels; readonly value: number }>;

/** A counter or gauge whose values are stored elsewhere. Names and units follow docs/contract.md §8, or its scheme. */
export interface InstrumentSpec {
  readonly name: string;
  /** `sum`: may fall, but can be added over processes. */
  readonly kind: "counter" | "gauge" | "sum";
  /** UCUM. Missing: a count of things. */
  readonly unit?: string;
  readonly description: string;
  readonly read: () => Reading | Promise<Reading>;
}

/** The counts of the proxy. */
export function listProxyInstruments(cells: ProxyCells): readonly InstrumentSpec[] {
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
      name: "ingress.http.refusal.count",
      kind: "counter",
      description: "Requests that the ingress refused or could not forward",
      read: () => refusals.values(),
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
    ...listResourceInstruments(current),
  ];
}

/** The limits and use of resources. */
function listResourceInstruments(current: () => MetricsSources): readonly InstrumentSpec[] {
  const descriptors = () => current().descriptors?.();
  return [
    {
      name: "ingress.memory.limit_bytes",
      kind: "gauge",
      unit: "By",
      description: "Memory limit of the container, or the machine's memory",
      read: () => current().memory?.().limit,
    },
    {
      name: "ingress.memory.budget_bytes",
      kind: "gauge",
      unit: "By",
      description: "Maximum memory for all requests together",
      read: () => current().memory?.().budget,
    },
    {
      name: "ingress.memory.held_bytes",
      kind: "gauge",
      unit: "By",
      description: "Memory in use for all requests together",
      read: () => current().memory?.().held,
    },
    {
      name: "ingress.process.descriptor.open",
      kind: "gauge",
      description: "Open file descriptors, including a reserve of at most 64",
      read: () => descriptors()?.open,
    },
    {
      name: "ingress.process.descriptor.limit",
      kind: "gauge",
      description: "Maximum number of open file descriptors",
      read: () => descriptors()?.limit,
    },
    {
      name: "ingress.process.descriptor.shortage.count",
      kind: "counter",
      description:
        "How often file descriptors became short (idle connections are closed) or exhausted (new ones are refused)",
      read: () => {
        const told = descriptors();
        return told === undefined
          ? undefined
          : byLabel("pressure", { short: told.shortages, exhausted: told.exhaustions });
      },
    },
    {
      name: "ingress.connections.idle_closed.count",
      kind: "counter",
      description: "Idle client connections closed because file descriptors were short",
      read: () => descriptors()?.idleClosed,
    },
  ];
}

type SandboxCounts = ReturnType<NonNullable<MetricsSources["sandboxCounts"]>>;

function toStates(counts: SandboxCounts | undefined): Readonly<Record<string, number>> {
  if (counts === undefined) return {};
  return { ready: counts.ready, not_ready: counts.notReady, ambiguous: counts.ambiguous };
}

function byLabel(name: string, values: Readonly<Record<string, number>>): Exclude<Reading, number | undefined> {
  return Object.entries(values).map(([label, value]) => ({ labels: { [name]: label }, value }));
}
