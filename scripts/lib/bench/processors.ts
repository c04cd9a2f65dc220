import { readFileSync } from "node:fs";

/** Processors as taskset(1) takes them: `0`, `1`, `0,1`. */
export type Processors = string;

/** Lets all threads of a process, and what they start later, run only on these processors. Throws if it cannot. */
export function pin(pid: number, processors: Processors): void {
  const { exitCode, stderr } = Bun.spawnSync(["taskset", "--all-tasks", "--pid", "--cpu-list", processors, `${pid}`]);
  if (exitCode !== 0) throw new Error(`Cannot pin process ${pid} to processors ${processors}: ${stderr.toString()}`);
}

/** Processor time of the whole machine since its start, in units of which only quotients have a meaning. */
export interface MachineTime {
  readonly total: number;
  readonly idle: number;
}

/** Reads the first line of /proc/stat (proc(5)). Waiting for a disk counts as idle. */
export function readMachineTime(): MachineTime {
  const [line = ""] = readFileSync("/proc/stat", "utf8").split("\n", 1);
  // user nice system idle iowait irq softirq steal; what follows is part of these.
  const fields = line.trim().split(/\s+/).slice(1, 9).map(Number);
  return { total: fields.reduce((sum, field) => sum + field, 0), idle: (fields[3] ?? 0) + (fields[4] ?? 0) };
}
