import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { type KubeApiServer, startKubeApiServer } from "../kube/kube-api-server.ts";
import { BATCH_SANDBOX, createNamespace, createObject, installCrd, readyAt } from "../kube/kube-resources.ts";

/** The namespace of all sandboxes in the API server. */
export const KUBE_NAMESPACE = "bench";
/** Objects that are created at a time: the API server allows 200 changing requests. */
const CREATING_MAX = 32;

/** A real API server for contenders that read sandboxes only from there. It starts when it is first needed. */
export interface KubeStage {
  /** Adds the sandboxes that it lacks, all ready at 127.0.0.1, and returns the path of a kubeconfig. */
  provide(sandboxes: readonly string[]): Promise<string>;
  stop(): Promise<void>;
}

/** @param folder Gets the data of the API server. */
export function createKubeStage(folder: string): KubeStage {
  let server: KubeApiServer | undefined;
  const present = new Set<string>();
  const start = async (): Promise<KubeApiServer> => {
    const dir = join(folder, "kube");
    mkdirSync(dir);
    const started = await startKubeApiServer({ dir });
    await installCrd(started, BATCH_SANDBOX);
    await createNamespace(started, KUBE_NAMESPACE);
    return started;
  };
  return {
    async provide(sandboxes) {
      const running = (server ??= await start());
      const missing = sandboxes.filter((name) => !present.has(name));
      for (let index = 0; index < missing.length; index += CREATING_MAX) {
        const batch = missing.slice(index, index + CREATING_MAX);
        await Promise.all(
          batch.map((name) =>
            createObject(running, BATCH_SANDBOX, { namespace: KUBE_NAMESPACE, name, ...readyAt("127.0.0.1") }),
          ),
        );
        for (const name of batch) present.add(name);
      }
      return running.writeKubeconfig("bench");
    },
    stop: async () => server?.stop(),
  };
}
