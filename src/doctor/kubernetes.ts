import type { Clock } from "../clock.ts";
import type { Config } from "../config/config.ts";
import type { KubeWriter } from "../kube/client.ts";
import { createKubeClient } from "../kube/client.ts";
import type { KubeConfigSource } from "../kube/credentials.ts";
import { type SandboxKind, sandboxKindOf } from "../sandbox/projection/kinds.ts";
import { checkApiServer } from "./api-server.ts";
import { checkCredentials } from "./credentials.ts";
import { type Finding, runCheck } from "./finding.ts";
import { checkKinds } from "./kinds.ts";
import { checkPermission, listPermissions, nameOfPermission } from "./permissions.ts";

/** Permissions that are asked for at the same time, so that a hundred namespaces are no flood. */
const PERMISSIONS_AT_ONCE = 8;

/** What the checks of the API server work with. */
export interface KubernetesParts {
  readonly config: Pick<Config, "providerType" | "namespaces" | "allNamespaces" | "kubeconfig">;
  readonly clock: Clock;
  readonly environment: KubeConfigSource["environment"];
  /** `User-Agent` of the requests. */
  readonly userAgent: string;
}

/** Checks all that the ingress needs of the API server. What needs something that failed is skipped. Never rejects. */
export async function checkKubernetes(parts: KubernetesParts): Promise<readonly Finding[]> {
  const { config, clock, environment, userAgent } = parts;
  const source: KubeConfigSource = { kubeconfig: config.kubeconfig, environment };
  const kind = sandboxKindOf(config.providerType);
  const credentials = await runCheck("credentials", clock, () => checkCredentials(source, clock));
  const permissions = listPermissions(config);
  const laterNames = ["clock", "kinds", ...permissions.map(nameOfPermission)];
  if (credentials.state === "fail") {
    return [credentials, ...skipAll(["api-server", ...laterNames], "the credentials are not usable")];
  }
  const api = createKubeClient(source, { clock, userAgent });
  let serverClock: Finding | undefined;
  const server = await runCheck("api-server", clock, async (signal) => {
    const found = await checkApiServer(api, { clock, signal });
    serverClock = found.clock;
    return found.server;
  });
  if (server.state === "fail") return [credentials, server, ...skipAll(laterNames, "the API server is not usable")];
  const [kinds, ...permitted] = await Promise.all([
    runCheck("kinds", clock, (signal) => checkKinds(api, kind, signal)),
    checkPermissions(api, { clock, kind, permissions }),
  ]);
  return [credentials, server, ...(serverClock === undefined ? [] : [serverClock]), kinds, ...permitted.flat()];
}

async function checkPermissions(
  api: KubeWriter,
  options: {
    readonly clock: Clock;
    readonly kind: SandboxKind;
    readonly permissions: ReturnType<typeof listPermissions>;
  },
): Promise<readonly Finding[]> {
  const { clock, kind, permissions } = options;
  const findings: Finding[] = [];
  for (let at = 0; at < permissions.length; at += PERMISSIONS_AT_ONCE) {
    const some = permissions
      .slice(at, at + PERMISSIONS_AT_ONCE)
      .map((permission) =>
        runCheck(nameOfPermission(permission), clock, (signal) => checkPermission(api, { permission, kind, signal })),
      );
    findings.push(...(await Promise.all(some)));
  }
  return findings;
}

function skipAll(names: readonly string[], detail: string): readonly Finding[] {
  return names.map((name) => ({ name, state: "skip", detail }));
}
