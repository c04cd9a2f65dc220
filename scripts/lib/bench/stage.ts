import { closeSync, ftruncateSync, mkdirSync, mkdtempSync, openSync, rmSync, utimesSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseAccessKeys } from "../../../src/access/keys.ts";
import { signRoute } from "../../../src/access/signature.ts";
import { formatLabelRoute } from "../../../src/route/format-route.ts";
import { readNumbers, startHelper } from "./child-process.ts";
import { createKubeStage, type KubeStage } from "./kube-stage.ts";

export const KIB = 1024;
export const GIB = 1024 ** 3;

/** The sandbox of most cases. */
export const SANDBOX = "bench";
/** The sandbox with a secure access token. */
export const SECURED_SANDBOX = "secured";
/** The sandbox with all annotations of a policy. */
export const GUARDED_SANDBOX = "guarded";
/** All nine, none of which refuses anything that a case does. */
export const POLICY_ANNOTATIONS: Readonly<Record<string, string>> = {
  "ingress.opensandbox.io/allowed-ports": "80,443,1024-65535",
  "ingress.opensandbox.io/allowed-methods": "GET,POST",
  "ingress.opensandbox.io/allowed-origins": "https://app.example.com,https://*.example.org",
  "ingress.opensandbox.io/client-cidrs": "127.0.0.0/8,::1/128",
  "ingress.opensandbox.io/max-requests": "1000",
  "ingress.opensandbox.io/rate": "1000000/s",
  "ingress.opensandbox.io/max-body-size": "10MiB",
  "ingress.opensandbox.io/response-timeout": "30s",
  "ingress.opensandbox.io/stream-idle-timeout": "5m",
};
/** Signs routes to `SECURED_SANDBOX`. Only this benchmark uses this key. */
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
  /** Counts uploads. */
  readonly sinkPort: number;
  /** Answers in chunks. */
  readonly chunkedPort: number;
  /** A file of one GiB of zeros. */
  readonly largeFile: string;
  readonly kube: KubeStage;
  stop(): Promise<void>;
}

export async function startStage(): Promise<Stage> {
  const folder = mkdtempSync(join(tmpdir(), "ingress-bench-"));
  const kube = createKubeStage(folder);
  const upstream = startHelper("upstream.ts", []);
  const { port, sinkPort, chunkedPort } = readNumbers(await upstream.next(), ["port", "sinkPort", "chunkedPort"]);
  const largeFile = join(folder, "1g");
  const descriptor = openSync(largeFile, "w");
  ftruncateSync(descriptor, GIB);
  closeSync(descriptor);
  return {
    folder,
    upstreamPid: upstream.pid,
    upstreamPort: port,
    sinkPort,
    chunkedPort,
    largeFile,
    kube,
    async stop() {
      await upstream.stop();
      await kube.stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** Names of `count` sandboxes. The first is the one of most cases. */
export function sandboxNames(count: number): readonly string[] {
  return Array.from({ length: count }, (_, index) => (index === 0 ? SANDBOX : `sb${index}`));
}

/** The secured sandbox and the guarded one, with their annotations. */
const SPECIAL_SANDBOXES: readonly (readonly [name: string, annotations: Readonly<Record<string, string>>])[] = [
  [SECURED_SANDBOX, { "opensandbox.io/secure-access-token": "0123456789abcdef" }],
  [GUARDED_SANDBOX, POLICY_ANNOTATIONS],
];

/** Writes a folder of manifests: the given open sandboxes, and the special ones. All have the same upstream. */
export async function writeManifests(folder: string, sandboxes: readonly string[]): Promise<string> {
  const path = join(folder, `manifests-${sandboxes.length}`);
  mkdirSync(path, { recursive: true });
  const documents = sandboxes.map((name) => manifestOf(name, {}));
  for (const [name, annotations] of SPECIAL_SANDBOXES) documents.push(manifestOf(name, annotations));
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
