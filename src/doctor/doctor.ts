import { stat } from "node:fs/promises";
import type { Clock } from "../clock.ts";
import type { Config } from "../config/config.ts";
import type { MemoryLimit } from "../host/memory-limit.ts";
import { codeOf } from "../values.ts";
import { checkCertificate } from "./certificate.ts";
import { type Finding, runCheck } from "./finding.ts";
import { checkIpv6, checkPort, type PortSeams } from "./ports.ts";
import { checkRedis } from "./redis.ts";
import { checkDescriptors, checkMemory } from "./resources.ts";
import { checkAdminToken, checkKeys } from "./secrets.ts";

/** What the doctor needs from the world. Tests replace it. */
export interface DoctorSeams {
  readonly clock: Clock;
  /** Where the Kubernetes client looks for credentials. */
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly ports: PortSeams;
  /** This machine's addresses, without loopback. */
  readonly addresses: readonly string[];
  readonly memoryLimit: MemoryLimit;
  /** Undefined: the system does not tell. */
  readonly descriptorLimit: number | undefined;
  /** `User-Agent` of requests to the API server. */
  readonly userAgent: string;
}

/** Checks all that an ingress with these flags needs, in the order of the output. Changes nothing. Never rejects. */
export async function examine(config: Config, seams: DoctorSeams): Promise<readonly Finding[]> {
  const { clock, ports } = seams;
  const flags: readonly Finding[] = config.warnings.map((detail) => ({ name: "flags", state: "warn", detail }));
  const checks = [
    checkSource(config, seams),
    runCheck("port", clock, (signal) => checkPort("port", config, { ports, signal })),
    runCheck("tls-port", clock, (signal) => checkPort("tls-port", config, { ports, signal })),
    runCheck("certificate", clock, () => checkCertificate(config, clock)),
    runCheck("admin-port", clock, (signal) => checkPort("admin-port", config, { ports, signal })),
    runCheck("keys", clock, () => checkKeys(config, clock)),
    runCheck("admin-token", clock, () => checkAdminToken(config, clock)),
    runCheck("redis", clock, () => checkRedis(config, clock)),
    runCheck("memory", clock, () => Promise.resolve(checkMemory(config, seams.memoryLimit))),
    runCheck("descriptors", clock, () => Promise.resolve(checkDescriptors(config, seams.descriptorLimit))),
    runCheck("ipv6", clock, () => checkIpv6(ports, seams.addresses)),
  ];
  const found = await Promise.all(checks);
  return [
    ...(flags.length === 0 ? [{ name: "flags", state: "ok" as const, detail: "valid" }] : flags),
    ...found.flat(),
  ];
}

/** Where sandboxes come from. */
async function checkSource(config: Config, seams: DoctorSeams): Promise<readonly Finding[]> {
  const { clock, environment, userAgent } = seams;
  const { manifests } = config;
  if (manifests !== undefined) return [await runCheck("manifests", clock, () => checkManifests(manifests))];
  // Loaded only if needed: the Kubernetes client is most of the program's code.
  const { checkKubernetes } = await import("./kubernetes.ts");
  return checkKubernetes({ config, clock, environment, userAgent });
}

async function checkManifests(path: string): Promise<Finding> {
  const name = "manifests";
  try {
    const isFolder = (await stat(path)).isDirectory();
    return { name, state: "ok", detail: `${path} is a ${isFolder ? "folder" : "file"}; Kubernetes is not used` };
  } catch (thrown) {
    const remedy = "correct --manifests, or mount the folder";
    return { name, state: "fail", detail: `cannot read ${path} (${codeOf(thrown)})`, remedy };
  }
}
