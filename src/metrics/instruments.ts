import type { Clock } from "../clock.ts";
import type { BuildInfo } from "../version.ts";
import type { Labels } from "./cells.ts";
import { createHostStats } from "./host-stats.ts";
import type { MetricsSources, ProcessProbe } from "./sources.ts";
import type { ProxyCells } from "./proxy-cells.ts";

/** What an instrument reads: one number, numbers by labels, or undefined where there is nothing to tell. */
export type Reading = number | undefined | Iterable<{ readonly labels: Labels; readonly value: number }>;

/**
 * A counter or gauge whose numbers live elsewhere. Names and units are docs/contract.md §8's, and its scheme for what
 * it lacks.
 */
export interface InstrumentSpec {
  readonly name: string;
  /** `sum`: may fall, but adds up over processes. */
  readonly kind: "counter" | "gauge" | "sum";
  /** UCUM; absent: a count of things. */
  readonly unit?: string;
  readonly description: string;
  readonly read: () => Reading | Promise<Reading>;
}

const MS_PER_SECOND = 1_000;

/** What the proxy counted. */
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
      description: "Requests that a sandbox failed",
      read: () => upstreamFailures.values(),
    },
    {
      name: "ingress.upstream.connect.count",
      kind: "counter",
      description: "Connects to sandboxes: all of WebSockets, and failed ones of requests",
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
      description: "Requests and WebSockets ended because memory was short",
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
    { name: "ingress.tunnel.active", kind: "sum", description: "WebSockets open", read: () => open.tunnels },
    { name: "ingress.tunnel.count", kind: "counter", description: "WebSockets opened", read: () => open.tunnelsInAll },
  ];
}

/** What other parts count. */
export function listSourceInstruments(current: () => MetricsSources): readonly InstrumentSpec[] {
  return [
    {
      name: "ingress.sandbox.count",
      kind: "gauge",
      description: "Sandboxes known",
      read: () => byLabel("state", toStates(current().sandboxCounts?.())),
    },
    {
      name: "ingress.sandbox.namesake.count",
      kind: "counter",
      description: "Pairs of sandboxes in different namespaces that one id can mean: requests for it are refused",
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
      name: "ingress.renew.intent.count",
      kind: "counter",
      description: "Renew intents, by what became of them",
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
      description: "Attempts to reach Redis or to publish to it that failed",
      read: () => current().renewIntents?.().failed,
    },
    {
      name: "ingress.renew.intent.queued",
      kind: "gauge",
      description: "Renew intents that wait to be published",
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
      description: "Exceptions and rejections that belong to no request: bugs, each of which ends the process in order",
      read: () => current().internalFaults?.(),
    },
    {
      name: "ingress.log.dropped.count",
      kind: "counter",
      description: "Log lines lost to a reader that stalled",
      read: () => current().droppedLogLines?.(),
    },
    {
      name: "ingress.access.failure.count",
      kind: "counter",
      description: "Signatures of routes that were compared and are wrong",
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

/** What the process may use, and uses. */
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
      description: "Memory that all requests together may hold",
      read: () => current().memory?.().budget,
    },
    {
      name: "ingress.memory.held_bytes",
      kind: "gauge",
      unit: "By",
      description: "Memory that all requests together hold",
      read: () => current().memory?.().held,
    },
    {
      name: "ingress.process.descriptor.open",
      kind: "gauge",
      description: "File descriptors open, a reserve of at most 64 among them",
      read: () => descriptors()?.open,
    },
    {
      name: "ingress.process.descriptor.limit",
      kind: "gauge",
      description: "File descriptors that may be open",
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
      description: "Idle client connections closed for lack of file descriptors",
      read: () => descriptors()?.idleClosed,
    },
  ];
}

/** The build and the process. */
export function listProcessInstruments(options: {
  readonly buildInfo: BuildInfo;
  readonly clock: Clock;
  readonly process: ProcessProbe;
}): readonly InstrumentSpec[] {
  const { buildInfo, clock, process } = options;
  const { version, commit, bunVersion, platform } = buildInfo;
  const build = [{ labels: { version, commit, bun_version: bunVersion, platform }, value: 1 }];
  const startMs = clock.now();
  const startedAt = clock.monotonic();
  return [
    {
      name: "ingress.build.info",
      kind: "gauge",
      description: "Always 1; the labels tell the build",
      read: () => build,
    },
    {
      name: "ingress.process.cpu.time",
      kind: "counter",
      unit: "s",
      description: "Processor time of the process",
      read: () => process.cpuMs() / MS_PER_SECOND,
    },
    {
      name: "ingress.process.memory.usage_bytes",
      kind: "gauge",
      unit: "By",
      description: "Resident memory of the process",
      read: () => process.residentBytes(),
    },
    {
      name: "ingress.process.start.time",
      kind: "gauge",
      unit: "s",
      description: "When the process started, in Unix time",
      read: () => startMs / MS_PER_SECOND,
    },
    {
      name: "ingress.process.uptime",
      kind: "gauge",
      unit: "s",
      description: "Time since the process started",
      read: () => (clock.monotonic() - startedAt) / MS_PER_SECOND,
    },
  ];
}

/** What the Go ingress tells of the machine. */
export function listHostInstruments(clock: Clock): readonly InstrumentSpec[] {
  const host = createHostStats(clock);
  return [
    {
      name: "ingress.system.cpu.usage",
      kind: "gauge",
      unit: "1",
      description: "Busy part of the node's processors, 0 to 1",
      read: () => host.cpuUsage(),
    },
    {
      name: "ingress.system.memory.usage_bytes",
      kind: "gauge",
      unit: "By",
      description: "Memory in use on the node",
      read: () => host.memoryBytes(),
    },
    {
      name: "ingress.connections.active",
      kind: "gauge",
      description: "TCP connections established",
      read: () => host.connections(),
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
