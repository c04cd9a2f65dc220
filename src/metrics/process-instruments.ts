import type { Clock } from "../clock.ts";
import type { BuildInfo } from "../version.ts";
import { createHostStats } from "./host-stats.ts";
import { byLabel, type InstrumentSpec } from "./instrument.ts";
import type { MetricsSources, ProcessProbe } from "./sources.ts";

const MS_PER_SECOND = 1_000;

/** The limits and use of resources. */
export function listResourceInstruments(current: () => MetricsSources): readonly InstrumentSpec[] {
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
      description: "Always 1; the labels describe the build",
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

/** Statistics of the machine, as in the Go ingress. */
export function listHostInstruments(clock: Clock): readonly InstrumentSpec[] {
  const host = createHostStats(clock);
  return [
    {
      name: "ingress.system.cpu.usage",
      kind: "gauge",
      unit: "1",
      description: "Busy share of the node's processors, 0 to 1",
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
      description: "Established TCP connections",
      read: () => host.connections(),
    },
  ];
}
