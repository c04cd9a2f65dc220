import { closeSync, ftruncateSync, mkdirSync, mkdtempSync, openSync, rmSync, utimesSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseAccessKeys } from "../../../src/access/keys.ts";
import { signRoute } from "../../../src/access/signature.ts";
import { formatLabelRoute } from "../../../src/route/format-route.ts";
import { readNumbers, startHelper } from "./child-process.ts";

export const MIB = 1024 ** 2;
export const GIB = 1024 ** 3;

/** The sandbox of most cases. */
export const SANDBOX = "bench";
/** The sandbox with a secure access token. */
export const SECURED_SANDBOX = "secured";
/** Signs routes to it. Only this benchmark uses this key. */
export const ACCESS_KEYS = "a=AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
/** When manifests were written, as an epoch second: in 2020. */
const OLD_SECONDS = 1_577_836_800;
/** The year 2100. */
const EXPIRES_B36 = "1vvqbk0";

/** The surroundings of the proxies: one upstream, and a folder for all files. */
export interface Stage {
  readonly folder: string;
  readonly upstreamPid: number;
  readonly upstreamPort: number;
  readonly sinkPort: number;
  /** A file of one GiB of zeros. */
  readonly largeFile: string;
  stop(): Promise<void>;
}

export async function startStage(): Promise<Stage> {
  const folder = mkdtempSync(join(tmpdir(), "ingress-bench-"));
  const upstream = startHelper("upstream.ts", []);
  const { port, sinkPort } = readNumbers(await upstream.next(), ["port", "sinkPort"]);
  const largeFile = join(folder, "1g");
  const descriptor = openSync(largeFile, "w");
  ftruncateSync(descriptor, GIB);
  closeSync(descriptor);
  return {
    folder,
    upstreamPid: upstream.pid,
    upstreamPort: port,
    sinkPort,
    largeFile,
    async stop() {
      await upstream.stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** Names of `count` sandboxes. The first is the one of most cases. */
export function sandboxNames(count: number): readonly string[] {
  return Array.from({ length: count }, (_, index) => (index === 0 ? SANDBOX : `sb${index}`));
}

/** Writes a folder of manifests: `count` open sandboxes, and the secured one. All have the same upstream. */
export async function writeManifests(folder: string, sandboxes: readonly string[]): Promise<string> {
  const path = join(folder, `manifests-${sandboxes.length}`);
  mkdirSync(path, { recursive: true });
  const documents = sandboxes.map((name) => manifestOf(name, {}));
  documents.push(manifestOf(SECURED_SANDBOX, { "opensandbox.io/secure-access-token": "0123456789abcdef" }));
  const file = join(path, "sandboxes.yaml");
  await Bun.write(file, documents.join("---\n"));
  // The ingress waits for files that may still be being written. An old time stamp avoids that.
  utimesSync(file, OLD_SECONDS, OLD_SECONDS);
  return path;
}

function manifestOf(name: string, annotations: Readonly<Record<string, string>>): string {
  return `${JSON.stringify({
    apiVersion: "sandbox.opensandbox.io/v1alpha1",
    kind: "BatchSandbox",
    metadata: {
      name,
      namespace: "bench",
      annotations: { "sandbox.opensandbox.io/endpoints": '["127.0.0.1"]', ...annotations },
    },
    status: { replicas: 1, ready: 1 },
  })}\n`;
}

/** A signed route to the secured sandbox, as `OpenSandbox-Ingress-To` takes it. */
export function signedRoute(port: number): string {
  const route = { sandboxId: SECURED_SANDBOX, port };
  const signature = signRoute(parseAccessKeys(ACCESS_KEYS), "a", { ...route, expiresB36: EXPIRES_B36 });
  return formatLabelRoute({ ...route, signature });
}
