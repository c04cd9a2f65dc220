import { projectBatchSandbox } from "../../src/sandbox/projection/batch-sandbox.ts";
import type { ProjectOptions } from "../../src/sandbox/projection/projection.ts";
import type { SandboxRecord } from "../../src/sandbox/provider.ts";
import { endpointRules } from "../../scripts/lib/stage/endpoint-rules.ts";

/** The rules of an ordinary cluster. */
export const STRICT: ProjectOptions = { endpoints: endpointRules() };

/** The record of a resource, by default of a BatchSandbox. Throws if there is none. */
export function recordOf(object: unknown, options = STRICT, project = projectBatchSandbox): SandboxRecord {
  const { record } = project(object, options);
  if (record === undefined) throw new Error("no record");
  return record;
}
