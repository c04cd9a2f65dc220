import { join } from "node:path";
import { isAnswering } from "../ingress-process.ts";
import { startServerProcess } from "../server-process.ts";
import type { Running } from "./contenders.ts";
import { sandboxNames, type Stage, writeManifests } from "./stage.ts";

const SCRIPT = join(import.meta.dir, "shared-port.ts");

/**
 * Starts `processes` ingresses that share a traffic port, and resolves when all of them are ready. They are children of
 * the process `pid`, which does nothing.
 */
export async function startIngressGroup(processes: number, sandboxes: number, stage: Stage): Promise<Running> {
  const manifests = await writeManifests(stage.folder, sandboxNames(sandboxes));
  const server = await startServerProcess({
    name: `${processes} ingress processes`,
    ports: processes + 1,
    hasChildren: true,
    command([port, ...adminPorts]) {
      const shared = [process.execPath, SCRIPT, `--manifests=${manifests}`, "--host=127.0.0.1", `--port=${port}`];
      const quiet = ["--admin-host=127.0.0.1", "--access-log=off", "--log-level=error"];
      const flags = [...shared, ...quiet].join(" ");
      // All end when one of them does.
      return ["bash", "-c", `${adminPorts.map((admin) => `${flags} --admin-port=${admin} &`).join(" ")} wait -n`];
    },
    async isReady({ ports: [, ...adminPorts] }) {
      const ready = adminPorts.map((admin) => isAnswering(`http://127.0.0.1:${admin}/readyz`));
      return (await Promise.all(ready)).every(Boolean);
    },
  });
  return {
    name: "ingress",
    pid: server.pid,
    port: server.ports[0] ?? 0,
    origin: `http://127.0.0.1:${server.ports[0] ?? 0}`,
    startMs: Number.NaN,
    stop: () => server.stop(),
  };
}
