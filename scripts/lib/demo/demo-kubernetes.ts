import { mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { startKubeApiServer, type Json, type KubeApiServer } from "../kube/kube-api-server.ts";
import { canHaveKubeBinaries, KUBE_BINARIES_HINT } from "../kube/kube-binaries.ts";
import {
  AGENT_SANDBOX,
  BATCH_SANDBOX,
  collectionPath,
  createNamespace,
  installCrd,
  patchStatus,
} from "../kube/kube-resources.ts";
import { type SandboxController, startSandboxController } from "../kube/sandbox-controller.ts";
import { DemoError } from "./demo-stage.ts";

/** The namespace of `deploy/samples`. */
const NAMESPACE = "demo";
const KINDS = [BATCH_SANDBOX, AGENT_SANDBOX] as const;

/** A real API server that has the sample sandboxes as objects, with a small controller that pauses and resumes them. */
export interface DemoCluster {
  readonly kubeconfig: string;
  /** The ingress's flags that lead to it. */
  readonly providerFlags: readonly string[];
  /** Pauses a BatchSandbox, and waits until it is one. */
  readonly pause: (name: string) => Promise<void>;
  stop(): Promise<void>;
}

/** Starts an API server and creates the objects of the folder's manifests in it. */
export async function startDemoCluster(manifests: string): Promise<DemoCluster> {
  if (!canHaveKubeBinaries()) {
    throw new DemoError(`Go and a kube-apiserver are missing; get one with: ${KUBE_BINARIES_HINT}`);
  }
  const dir = join(import.meta.dir, "../../../.cache", `demo-kube-${process.pid}`);
  mkdirSync(dir, { recursive: true });
  let server: KubeApiServer | undefined;
  const controllers: SandboxController[] = [];
  const stop = async () => {
    await Promise.all(controllers.map((controller) => controller[Symbol.asyncDispose]()));
    await server?.stop();
    rmSync(dir, { recursive: true, force: true });
  };
  try {
    server = await startKubeApiServer({ dir, progress: (line) => console.error(`demo: ${line}`) });
    for (const kind of KINDS) await installCrd(server, kind);
    await createNamespace(server, NAMESPACE);
    for (const object of readManifests(manifests)) await createSandbox(server, object);
    for (const kind of KINDS) {
      controllers.push(startSandboxController(server, kind, { namespace: NAMESPACE, address: "127.0.0.1" }));
    }
  } catch (error) {
    await stop();
    throw error;
  }
  const kubeconfig = server.writeKubeconfig("admin");
  const flags = [`--kubeconfig=${kubeconfig}`, `--namespace=${NAMESPACE}`, "--allow-loopback-endpoints"];
  const pause = async (name: string): Promise<void> => controllers[0]?.pause(name);
  return { kubeconfig, providerFlags: [...flags, "--wake-enabled"], pause, stop };
}

function readManifests(folder: string): readonly Json[] {
  return readdirSync(folder).flatMap((file) => {
    const documents: unknown = Bun.YAML.parse(readFileSync(join(folder, file), "utf8"));
    const list: readonly unknown[] = Array.isArray(documents) ? documents : [documents];
    return list.map((document) => Object.fromEntries(Object.entries(document ?? {})));
  });
}

/** The status is written separately, as a controller does: creating an object drops it. */
async function createSandbox(server: KubeApiServer, object: Json): Promise<void> {
  const kind = KINDS.find((known) => known.kind === object["kind"]);
  if (kind === undefined) throw new DemoError(`unknown kind of sandbox: ${JSON.stringify(object["kind"])}`);
  const { metadata, status } = object;
  await server.request("POST", collectionPath(kind, NAMESPACE), object);
  const name = typeof metadata === "object" && metadata !== null && "name" in metadata ? String(metadata.name) : "";
  await patchStatus(server, kind, {
    namespace: NAMESPACE,
    name,
    status: Object.fromEntries(Object.entries(status ?? {})),
  });
}
