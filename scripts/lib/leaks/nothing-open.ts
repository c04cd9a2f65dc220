import { readdirSync, readlinkSync } from "node:fs";
import { join } from "node:path";

import { eventually } from "../eventually.ts";
import type { IngressProcess } from "../ingress-process.ts";

/** What an ingress tells of what is open and held, and of what went wrong in it: all zero when nothing is open. */
const ZERO_METRICS = [
  "opensandbox_ingress_http_request_active",
  "opensandbox_ingress_tunnel_active",
  "opensandbox_ingress_memory_held_bytes",
  "opensandbox_ingress_process_fault_count_total",
] as const;

/** Sockets that a process has open, those that it listens on too. */
export function countSockets(pid: number): number {
  const dir = `/proc/${pid}/fd`;
  return readdirSync(dir).filter((fd) => {
    try {
      return readlinkSync(join(dir, fd)).startsWith("socket:");
    } catch {
      // It was closed meanwhile.
      return false;
    }
  }).length;
}

/** Waits until an ingress holds nothing and has nothing open, as its metrics tell. Throws what it still has. */
export async function expectNothingOpen(ingress: Pick<IngressProcess, "adminOrigin">): Promise<void> {
  await eventually(async () => {
    const answer = await fetch(`${ingress.adminOrigin}/metrics`, { proxy: false });
    const text = await answer.text();
    const open = ZERO_METRICS.flatMap((name) => {
      const value = new RegExp(`^${name}(?:\\{[^}]*\\})? (\\S+)$`, "m").exec(text)?.[1];
      return value === "0" ? [] : [`${name} is ${value ?? "missing"}`];
    });
    if (open.length > 0) throw new Error(open.join(", "));
  });
}
