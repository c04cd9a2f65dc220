import { networkInterfaces } from "node:os";
import { systemClock } from "../clock.ts";
import type { Config } from "../config/config.ts";
import { descriptorFiles } from "../host/descriptor-files.ts";
import { readMemoryLimit } from "../host/memory-limit.ts";
import { buildInfo } from "../version.ts";
import { examine } from "./doctor.ts";
import type { Finding } from "./finding.ts";
import { systemPorts } from "./ports.ts";

/** Examines this machine. */
export function examineHere(
  config: Config,
  environment: Readonly<Record<string, string | undefined>>,
): Promise<readonly Finding[]> {
  const interfaces = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? []);
  return examine(config, {
    clock: systemClock,
    environment,
    ports: systemPorts,
    addresses: interfaces.filter(({ internal }) => !internal).map(({ address }) => address),
    memoryLimit: readMemoryLimit(),
    descriptorLimit: descriptorFiles.readLimit(),
    userAgent: `opensandbox-ingress/${buildInfo.version} doctor`,
  });
}
