import { join } from "node:path";
import { startSampleSandbox, type SampleSandbox } from "../../scripts/lib/demo/sample-sandbox.ts";
import { tempDir } from "./temp-dir.ts";

export interface SampleStage extends AsyncDisposable {
  readonly sandbox: SampleSandbox;
  /** A folder with a BatchSandbox and a Sandbox of the sandbox's name. */
  readonly manifests: string;
  /** Its name in the header and host forms: `<id>-<port>`. */
  readonly route: string;
}

/** A sample sandbox on a loopback address and free port, with manifests of both kinds. */
export async function startSampleStage(): Promise<SampleStage> {
  const dir = tempDir();
  const sandbox = startSampleSandbox("sample", { address: "127.0.0.1", port: 0 });
  const { name, address } = sandbox;
  // The strict WebSocket of the sample sandbox compares Origin with Host.
  const annotations = { "ingress.opensandbox.io/origin-header": "upstream" };
  const batchSandbox = {
    apiVersion: "sandbox.opensandbox.io/v1alpha1",
    kind: "BatchSandbox",
    metadata: {
      name,
      namespace: "test",
      annotations: { ...annotations, "sandbox.opensandbox.io/endpoints": JSON.stringify([address]) },
    },
    status: { replicas: 1, ready: 1, phase: "Succeed" },
  };
  const agentSandbox = {
    apiVersion: "agents.x-k8s.io/v1beta1",
    kind: "Sandbox",
    metadata: { name, namespace: "test", annotations },
    status: { podIPs: [address], conditions: [{ type: "Ready", status: "True" }] },
  };
  await Bun.write(join(dir.path, "batch.json"), JSON.stringify(batchSandbox));
  await Bun.write(join(dir.path, "agent.json"), JSON.stringify(agentSandbox));
  return {
    sandbox,
    manifests: dir.path,
    route: `${name}-${sandbox.port}`,
    [Symbol.asyncDispose]: async () => {
      await sandbox.stop();
      dir[Symbol.dispose]();
    },
  };
}
