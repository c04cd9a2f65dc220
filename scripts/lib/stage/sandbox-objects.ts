import type { SandboxRecord } from "../../../src/sandbox/provider.ts";

/** A record of a ready sandbox, with changes. */
export function sandboxRecord(change: Partial<SandboxRecord> = {}): SandboxRecord {
  return {
    namespace: "ns",
    name: "sb",
    uid: "uid-1",
    endpoint: "10.0.0.7",
    ports: undefined,
    ready: true,
    notReady: "",
    accessToken: "",
    ...change,
  };
}

/** The parts of a BatchSandbox object. Missing parts are as in a running sandbox. */
export interface BatchSandboxParts {
  readonly name?: string;
  readonly namespace?: string;
  readonly uid?: string;
  /** The annotation's value; null: no annotation. */
  readonly endpoints?: unknown;
  readonly token?: string;
  readonly status?: unknown;
}

/** A BatchSandbox as from the API server. */
export function batchSandbox(parts: BatchSandboxParts = {}): Record<string, unknown> {
  const annotations: Record<string, unknown> = {};
  const endpoints = parts.endpoints === undefined ? '["10.244.1.5"]' : parts.endpoints;
  if (endpoints !== null) annotations["sandbox.opensandbox.io/endpoints"] = endpoints;
  if (parts.token !== undefined) annotations["opensandbox.io/secure-access-token"] = parts.token;
  return {
    apiVersion: "sandbox.opensandbox.io/v1alpha1",
    kind: "BatchSandbox",
    metadata: {
      name: parts.name ?? "sb",
      namespace: parts.namespace ?? "ns",
      uid: parts.uid ?? "uid-1",
      annotations,
    },
    status: parts.status === undefined ? { replicas: 1, ready: 1, phase: "Succeed" } : parts.status,
  };
}

/** A Sandbox of agents.x-k8s.io as from the API server. */
export function agentSandbox(status: unknown, metadata: Record<string, unknown> = {}): Record<string, unknown> {
  return {
    apiVersion: "agents.x-k8s.io/v1beta1",
    kind: "Sandbox",
    metadata: { name: "sb", namespace: "ns", uid: "uid-1", ...metadata },
    status,
  };
}
