import { POLICY_PREFIX, readPolicy } from "../../src/sandbox/projection/annotations.ts";
import type { SandboxPolicy } from "../../src/sandbox/policy.ts";

/** The policy of a sandbox with these annotations, named without their prefix. */
export function policyOf(annotations: Readonly<Record<string, string>>): SandboxPolicy | undefined {
  const all: Record<string, string> = {};
  for (const [name, value] of Object.entries(annotations)) all[POLICY_PREFIX + name] = value;
  return readPolicy(all).policy;
}
