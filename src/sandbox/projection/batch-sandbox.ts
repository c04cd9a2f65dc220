import { parseEndpointAnnotation } from "./endpoint.ts";
import {
  buildRecord,
  type Condition,
  describeNotReady,
  findCondition,
  type Projection,
  type ProjectOptions,
  publicText,
  type ReadinessReading,
  readMetadata,
} from "./projection.ts";
import type { SandboxSleep } from "../provider.ts";
import { isObject } from "../../values.ts";
import { quote } from "../../log/quote.ts";

/** docs/contract.md §1. */
const ENDPOINTS_ANNOTATION = "sandbox.opensandbox.io/endpoints";

/** The conditions that say why a BatchSandbox is not ready, the most helpful first. Absent means False. */
const TELLING_CONDITIONS = ["PodFailed", "ResumeFailed", "PauseFailed", "Paused", "Progressing"] as const;

/**
 * Projects a BatchSandbox to a record (docs/contract.md §1). Never throws, for any `object`.
 *
 * The annotation is patched before the status, so either can be newer for a moment: ready needs both. The endpoint
 * stays while only the status says not ready, so that a change of readiness does not end the generation.
 */
export function projectBatchSandbox(object: unknown, options: ProjectOptions): Projection {
  const metadata = readMetadata(object, options);
  if (typeof metadata === "string") return { record: undefined, warning: metadata };
  const status = isObject(object) ? object["status"] : undefined;
  return buildRecord(metadata, parseEndpointAnnotation(metadata.annotations[ENDPOINTS_ANNOTATION], options), {
    readiness: readReadiness(status),
    endpointMissing: "has no endpoint yet",
  });
}

function readReadiness(status: unknown): ReadinessReading {
  if (status === undefined || status === null) return { notReady: "missing status", fault: undefined };
  if (!isObject(status)) return { notReady: "missing status", fault: `status ${quote(status)} is not an object` };
  const ready = status["ready"] ?? 0;
  if (typeof ready !== "number" || !Number.isSafeInteger(ready) || ready < 0) {
    return { notReady: "has an invalid status", fault: `status.ready ${quote(ready)} is not a number of replicas` };
  }
  if (ready >= 1) return { notReady: "", fault: undefined };
  return { notReady: explain(status), fault: undefined, sleep: readSleep(status) };
}

/** A resume that failed is told by its condition, whatever the phase says then. */
function readSleep(status: Readonly<Record<string, unknown>>): SandboxSleep | undefined {
  if (findCondition(status, "ResumeFailed")?.status === "True") return "failed";
  switch (status["phase"]) {
    case "Pausing":
    case "Paused":
      return "asleep";
    case "Resuming":
      return "waking";
    default:
      return undefined;
  }
}

function explain(status: Readonly<Record<string, unknown>>): string {
  for (const type of TELLING_CONDITIONS) {
    const condition = findCondition(status, type);
    if (condition?.status === "True") return describeNotReady(conditionReason(condition), condition.message);
  }
  // `Succeed` means running, which would confuse if no replica is ready.
  const phase = publicText(status["phase"]);
  const replicas = status["replicas"];
  const isCount = typeof replicas === "number" && Number.isSafeInteger(replicas) && replicas >= 0;
  return describeNotReady(
    phase === "" || phase === "Succeed" ? "Pending" : phase,
    isCount ? `0 of ${replicas} replicas ready` : "no replica ready",
  );
}

function conditionReason(condition: Condition): string {
  return condition.reason === "" ? condition.type : condition.reason;
}
