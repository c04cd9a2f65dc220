import { afterAll, beforeAll } from "bun:test";
import { startKubeApiServer, type KubeApiServer } from "../../scripts/lib/kube/kube-api-server.ts";
import { canHaveKubeBinaries, KUBE_BINARIES_HINT, KUBE_BUILD_MAX_MS } from "../../scripts/lib/kube/kube-binaries.ts";
import { requirePart } from "./requires.ts";
import { tempDir } from "./temp-dir.ts";

/** Whether tests that need a real API server can run here; prints why not. */
export function hasKubeApiServer(): boolean {
  return requirePart("kube-apiserver", { get: KUBE_BINARIES_HINT, isPresent: canHaveKubeBinaries });
}

/**
 * One API server for all tests of a file, stopped after them. Call it at the top of the file, and `get` within a test.
 */
export function useKubeApiServer(options: { readonly args?: readonly string[] } = {}): () => KubeApiServer {
  const dir = tempDir();
  let server: KubeApiServer | undefined;
  beforeAll(async () => {
    server = await startKubeApiServer({ dir: dir.path, ...options });
  }, KUBE_BUILD_MAX_MS);
  afterAll(async () => {
    await server?.stop();
    dir[Symbol.dispose]();
  });
  return () => {
    if (server === undefined) throw new Error("Cannot use the API server: it has not been started");
    return server;
  };
}
