import type { ProviderType } from "../../../src/sandbox/provider.ts";
import { createKubeClient } from "../../../src/kube/client.ts";
import type { ReflectorLimits } from "../../../src/kube/reflector-limits.ts";
import { createKubernetesProvider } from "../../../src/sandbox/kubernetes/provider.ts";
import { projectAgentSandbox } from "../../../src/sandbox/projection/agent-sandbox.ts";
import { projectBatchSandbox } from "../../../src/sandbox/projection/batch-sandbox.ts";
import type { SandboxProvider, SandboxRecord } from "../../../src/sandbox/provider.ts";
import { endpointRules } from "../stage/endpoint-rules.ts";
import { eventually } from "../eventually.ts";
import type { KubeApiServer } from "./kube-api-server.ts";
import { AGENT_SANDBOX, BATCH_SANDBOX, collectionPath } from "./kube-resources.ts";
import { createRecordingLogger, type RecordingLogger } from "../stage/recording-logger.ts";

export interface ProviderBenchOptions {
  readonly server: KubeApiServer;
  readonly kubeconfig: string;
  readonly providerType?: ProviderType;
  readonly namespaces: readonly string[];
  readonly allNamespaces?: boolean;
  readonly allowLoopbackEndpoints?: boolean;
  readonly limits?: Partial<ReflectorLimits>;
}

/** A running provider on a real API server. */
export interface ProviderBench extends AsyncDisposable {
  readonly provider: SandboxProvider;
  readonly logger: RecordingLogger;
  /** The generations that have ended. */
  readonly ended: readonly SandboxRecord[];
  synced(): Promise<void>;
  /** The result of a name: the endpoint, `not ready`, `ambiguous` or `not found`. */
  look(name: string): string;
  /** Waits until the provider equals the server, compared object by object. */
  settle(): Promise<void>;
}

export async function startProviderBench(options: ProviderBenchOptions): Promise<ProviderBench> {
  const { server, namespaces, providerType = "batchsandbox", allNamespaces = false } = options;
  const logger = createRecordingLogger();
  const endpoints = endpointRules({ allowLoopback: options.allowLoopbackEndpoints ?? false });
  const provider = createKubernetesProvider({
    client: createKubeClient({ kubeconfig: options.kubeconfig, environment: {} }),
    providerType,
    namespaces,
    allNamespaces,
    endpoints,
    logger,
    ...(options.limits !== undefined && { limits: options.limits }),
  });
  const ended: SandboxRecord[] = [];
  provider.onGenerationEnd((record) => ended.push(record));
  await provider.start();

  const kind = providerType === "batchsandbox" ? BATCH_SANDBOX : AGENT_SANDBOX;
  const project = providerType === "batchsandbox" ? projectBatchSandbox : projectAgentSandbox;
  async function readTruth(): Promise<Map<string, SandboxRecord>> {
    const truth = new Map<string, SandboxRecord>();
    for (const namespace of namespaces) {
      const { items } = await server.request("GET", collectionPath(kind, namespace));
      const objects: readonly unknown[] = Array.isArray(items) ? items : [];
      for (const object of objects) {
        const { record } = project(object, { endpoints });
        if (record !== undefined) truth.set(record.name, record);
      }
    }
    return truth;
  }

  return {
    provider,
    logger,
    ended,
    async synced() {
      check("whenSynced", await provider.whenSynced(20_000), true);
    },
    look(name) {
      const resolution = provider.resolve(name);
      if (resolution.state !== "found") return resolution.state.replace("-", " ");
      return resolution.record.ready ? resolution.record.endpoint : "not ready";
    },
    settle: () =>
      eventually(async () => {
        const truth = await readTruth();
        const { ready, notReady, ambiguous } = provider.counts();
        check("count", ready + notReady + ambiguous, truth.size);
        for (const [name, record] of truth) {
          const resolution = provider.resolve(name);
          // When the provider saw it, no source tells.
          const sinceMs = resolution.state === "found" ? resolution.record.sinceMs : undefined;
          check(name, resolution, { state: "found", record: { ...record, sinceMs } });
        }
      }),
    [Symbol.asyncDispose]: () => provider.stop(),
  };
}

function check(what: string, seen: unknown, expected: unknown): void {
  if (Bun.deepEquals(seen, expected)) return;
  throw new Error(`${what} is ${Bun.inspect(seen)}, not ${Bun.inspect(expected)}`);
}
