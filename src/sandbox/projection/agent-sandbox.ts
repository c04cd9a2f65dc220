import { parseServiceFqdn, readFirst } from "./endpoint.ts";
import {
  buildRecord,
  describeNotReady,
  type EndpointReading,
  findCondition,
  isResourceName,
  type Projection,
  type ProjectOptions,
  type ReadinessReading,
  readMetadata,
  type SandboxMetadata,
} from "./projection.ts";
import type { SandboxSleep } from "../provider.ts";
import { isObject } from "../../values.ts";
import { quote } from "../../log/quote.ts";

/**
 * Projects a Sandbox of `agents.x-k8s.io`, v1alpha1 or v1beta1, to a record (docs/contract.md §1). Never throws, for
 * any `object`.
 *
 * The endpoint is the headless Service's name, else the first pod address: the Service is opt-in since v0.4.6.
 */
export function projectAgentSandbox(object: unknown, options: ProjectOptions): Projection {
  const metadata = readMetadata(object, options);
  if (typeof metadata === "string") return { record: undefined, warning: metadata };
  if (isUnclaimed(metadata)) return { record: undefined, warning: undefined };
  const status = isObject(object) ? object["status"] : undefined;
  return buildRecord(metadata, readEndpoint(status, metadata.namespace, options), {
    readiness: readReadiness(status, readSleep(object)),
    endpointMissing: "has no serviceFQDN",
    claim: readClaim(metadata),
  });
}

/** Whether it waits in a warm pool. The label is removed when a claim adopts the sandbox (docs/contract.md §9). */
function isUnclaimed({ labels }: SandboxMetadata): boolean {
  return isObject(labels) && labels[WARM_POOL_LABEL] !== undefined;
}

/** The name of the claim that controls the sandbox, where that differs from its own: it came from a warm pool. */
function readClaim({ name, ownerReferences }: SandboxMetadata): string | undefined {
  if (!Array.isArray(ownerReferences)) return undefined;
  const owners: readonly unknown[] = ownerReferences;
  for (const owner of owners) {
    if (!isObject(owner) || owner["controller"] !== true || owner["kind"] !== CLAIM_KIND) continue;
    const { apiVersion, name: claim } = owner;
    if (typeof apiVersion !== "string" || !apiVersion.startsWith(`${CLAIM_GROUP}/`)) continue;
    return typeof claim === "string" && isResourceName(claim) && claim !== name ? claim : undefined;
  }
  return undefined;
}

const WARM_POOL_LABEL = "agents.x-k8s.io/warm-pool-sandbox";
const CLAIM_GROUP = "extensions.agents.x-k8s.io";
const CLAIM_KIND = "SandboxClaim";

function readEndpoint(status: unknown, namespace: string, options: ProjectOptions): EndpointReading {
  if (!isObject(status)) return readFirst([], options);
  const fqdn = status["serviceFQDN"] ?? "";
  if (typeof fqdn !== "string") {
    return { endpoint: "", ports: undefined, refusal: `status.serviceFQDN ${quote(fqdn)} is not a string` };
  }
  if (fqdn !== "") return parseServiceFqdn(fqdn, namespace, options);
  const podIps: unknown = status["podIPs"] ?? [];
  if (!Array.isArray(podIps)) {
    return { endpoint: "", ports: undefined, refusal: `status.podIPs ${quote(podIps)} is not an array` };
  }
  return readFirst(podIps, options);
}

/**
 * Whether a Sandbox of v1beta1 is suspended. `spec.operatingMode` says what is wanted; the condition `Suspended` says what is,
 * and is stale until the controller has seen the spec.
 */
function readSleep(object: unknown): SandboxSleep | undefined {
  const spec = isObject(object) ? object["spec"] : undefined;
  const mode = isObject(spec) ? spec["operatingMode"] : undefined;
  if (mode === "Suspended") return "asleep";
  const status = isObject(object) ? object["status"] : undefined;
  if (mode !== "Running" || !isObject(status)) return undefined;
  return findCondition(status, "Suspended")?.status === "True" ? "waking" : undefined;
}

function readReadiness(status: unknown, sleep: SandboxSleep | undefined): ReadinessReading {
  if (status === undefined || status === null) return { notReady: "missing status", fault: undefined, sleep };
  if (!isObject(status)) return { notReady: "missing status", fault: `status ${quote(status)} is not an object` };
  const condition = findCondition(status, "Ready");
  if (condition === undefined) {
    return { notReady: describeNotReady("Pending", "no Ready condition yet"), fault: undefined, sleep };
  }
  if (condition.status === "True") return { notReady: "", fault: undefined };
  const reason = condition.reason === "" ? "NotReady" : condition.reason;
  return { notReady: describeNotReady(reason, condition.message), fault: undefined, sleep };
}
