import { beforeAll, describe, expect, test } from "bun:test";
import { readFileSync, readlinkSync } from "node:fs";
import { buildBinary } from "../support/binary.ts";
import { eventually } from "../../scripts/lib/eventually.ts";
import { requirePart } from "../support/requires.ts";
import { tempDir } from "../support/temp-dir.ts";

const NAMESPACE = ["unshare", "--pid", "--fork", "--kill-child"] as const;
const hasNamespaces = requirePart("unshare with a PID namespace", {
  get: "running the tests as root, with util-linux",
  isPresent: () => Bun.which("unshare") !== null && Bun.spawnSync([...NAMESPACE, "true"]).exitCode === 0,
});

/** SIGTERM in the masks of /proc/<pid>/status. */
const SIGTERM_BIT = 1n << 14n;
/** Milliseconds from the program's first line: through its restart, until it serves. */
const DELAYS_MS = Array.from({ length: 24 }, (_, index) => index * 5);

let binary: string;
beforeAll(async () => {
  binary = await buildBinary();
});

/** The process below `unshare`, once it is the ingress. */
function findIngress(parent: number): Promise<number> {
  return eventually(() => {
    const pid = Number(readFileSync(`/proc/${parent}/task/${parent}/children`, "utf8").trim());
    if (readlinkSync(`/proc/${pid}/exe`) !== binary) throw new Error("unshare has not become the ingress yet");
    return pid;
  });
}

/** Whether the first line of the program has run: SIGTERM has a handler. */
function handlesSigterm(pid: number): boolean {
  const caught = /^SigCgt:\s*([0-9a-f]+)$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? "0";
  return (BigInt(`0x${caught}`) & SIGTERM_BIT) !== 0n;
}

describe.skipIf(!hasNamespaces)("as process 1", () => {
  test.each(DELAYS_MS)("SIGTERM ends the ingress in order %d ms after its first line", async (delayMs) => {
    using dir = tempDir();
    const flags = [`--manifests=${dir.path}`, "--host=127.0.0.1", "--port=0", "--admin-port=0", "--shutdown-delay=0s"];
    const child = Bun.spawn([...NAMESPACE, binary, ...flags], { stdout: "ignore", stderr: "ignore" });
    try {
      const pid = await findIngress(child.pid);
      await eventually(() => handlesSigterm(pid));
      await Bun.sleep(delayMs);
      process.kill(pid, "SIGTERM");
      expect(await child.exited).toBe(0);
    } finally {
      child.kill("SIGKILL");
    }
  });
});
