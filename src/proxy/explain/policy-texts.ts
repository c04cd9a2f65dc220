import type { IngressErrorCode } from "../../errors.ts";
import type { SandboxPolicy } from "../../sandbox/policy.ts";
import type { SandboxRecord } from "../../sandbox/provider.ts";

/** The limits of a sandbox's traffic: field of the policy → annotation. */
const LIMITS: readonly (readonly [field: keyof SandboxPolicy, annotation: string])[] = [
  ["allowedPorts", "allowed-ports"],
  ["allowedClients", "client-cidrs"],
  ["allowedMethods", "allowed-methods"],
  ["allowedOrigins", "allowed-origins"],
  ["maxBodyBytes", "max-body-size"],
  ["rate", "rate"],
  ["maxRequests", "max-requests"],
  ["responseTimeoutMs", "response-timeout"],
  ["streamIdleTimeoutMs", "stream-idle-timeout"],
];

/** Why a request passed. A process that does not serve does not know how many requests came before. */
export function describePolicy({ policy }: SandboxRecord, isServing: boolean): string {
  const set = LIMITS.flatMap(([field, annotation]) => (policy?.[field] === undefined ? [] : [annotation]));
  if (set.length === 0) return "no annotation limits the sandbox";
  const unknown =
    policy?.rate !== undefined && !isServing ? "; only a running ingress knows how much of rate is used" : "";
  return `the annotations of the sandbox allow it: ${set.join(", ")}${unknown}`;
}

/** Which annotation refuses, for an operator. */
export function describePolicyRefusal(
  code: IngressErrorCode,
  { port, client }: { readonly port: number; readonly client: string },
): string | undefined {
  switch (code) {
    case "port_not_allowed":
      return `port ${port} is not in allowed-ports`;
    case "client_not_allowed":
      return `the client's address ${client} is not in client-cidrs`;
    case "sandbox_method_not_allowed":
      return "the method is not in allowed-methods";
    case "origin_not_allowed":
      return "the Origin is not in allowed-origins";
    case "body_too_large":
      return "the body is larger than max-body-size";
    case "rate_exceeded":
      return "the sandbox has had its requests: rate, or --max-rate-per-sandbox";
    default:
      return undefined;
  }
}
