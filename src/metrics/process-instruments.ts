import type { Clock } from "../clock.ts";
import type { BuildInfo } from "../version.ts";
import { createHostStats } from "./host-stats.ts";
import type { InstrumentSpec } from "./instruments.ts";
import type { ProcessProbe } from "./sources.ts";

const MS_PER_SECOND = 1_000;

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
