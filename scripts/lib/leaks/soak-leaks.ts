import { mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { eventually } from "../eventually.ts";
import { isAnswering, startIngressProcess } from "../ingress-process.ts";
import type { Random } from "../stage/random.ts";
import { batchSandbox } from "../stage/sandbox-objects.ts";
import { startHostileSandbox } from "./hostile-sandbox.ts";
import { LeakMix, type LeakTarget, type MixSandbox } from "./leak-mix.ts";
import { MISBEHAVIOURS } from "./misbehaviours.ts";
import { countSockets, expectNothingOpen } from "./nothing-open.ts";

/** Clients that are open when the ingress is told to stop. */
const CLIENTS_AT_STOP = 60;

/** Short, so that all limits strike. */
const LIMITS = [
  "--connect-timeout=1s",
  "--response-timeout=1500ms",
  "--stream-idle-timeout=1500ms",
  "--client-idle-timeout=1s",
  "--websocket-max-message=1MiB",
  "--max-body-size=8MiB",
  "--drain-timeout=2s",
  "--shutdown-delay=0",
  "--trusted-proxies=127.0.0.0/8",
  "--access-log=off",
  "--log-level=error",
];

/** Sandboxes as manifest files in a folder. */
function createFolderTarget(dir: string, port: number): LeakTarget {
  const path = (name: string): string => join(dir, `${name}.json`);
  return {
    port,
    setSandbox({ name, uid, endpoint, token, ready }: MixSandbox) {
      const manifest = batchSandbox({
        name,
        uid,
        endpoints: JSON.stringify([endpoint]),
        ...(token === "" ? {} : { token }),
        ...(ready ? {} : { status: { replicas: 1, ready: 0, phase: "Pausing" } }),
      });
      // Its readers see the old file or the new one.
      writeFileSync(`${path(name)}.new`, JSON.stringify(manifest));
      renameSync(`${path(name)}.new`, path(name));
    },
    removeSandbox: (name) => rmSync(path(name), { force: true }),
  };
}

/**
 * Rude clients and hostile sandboxes for `durationMs`: when all clients have left, nothing is open or held, and when all
 * sandboxes are gone, no socket is left. Then the ingress stops in time with clients of that kind open. Gives what was seen.
 */
export async function soakLeaks(
  binary: string,
  options: { readonly random: Random; readonly durationMs: number },
): Promise<string> {
  const dir = mkdtempSync(join(tmpdir(), "ingress-soak-"));
  try {
    await using ingress = await startIngressProcess(binary, [`--manifests=${dir}`, ...LIMITS]);
    await eventually(() => isAnswering(`${ingress.adminOrigin}/readyz`));
    await using sandbox = await startHostileSandbox(MISBEHAVIOURS);
    const mix = new LeakMix({
      target: createFolderTarget(dir, Number(new URL(ingress.origin).port)),
      random: options.random,
      misbehaviours: MISBEHAVIOURS,
      sandboxPort: sandbox.port,
    });
    await expectNothingOpen(ingress);
    const before = countSockets(ingress.pid);
    const deadline = performance.now() + options.durationMs;
    await mix.begin();
    await mix.run(() => performance.now() < deadline);
    await mix.leave();
    await expectNothingOpen(ingress);
    await mix.end();
    await eventually(async () => {
      // The connection over which it was asked is one of them.
      await expectNothingOpen(ingress);
      const after = countSockets(ingress.pid);
      if (after > before) throw new Error(`${after} sockets open, ${before} at the start`);
    });
    await mix.begin();
    await mix.run((begun) => begun < CLIENTS_AT_STOP);
    ingress.kill("SIGTERM");
    const code = await ingress.exited;
    await mix.leave();
    const seen = `${mix.begun} clients, ${sandbox.requests} requests at sandboxes`;
    if (code !== 0) throw new Error(`${seen}: the ingress ended with ${code}: ${ingress.readOutput().slice(-1_000)}`);
    return `${seen}; nothing was left open`;
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}
