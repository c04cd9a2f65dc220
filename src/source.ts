import type { Clock } from "./clock.ts";
import { type Config, readClusterDomain } from "./config/parse-config.ts";
import type { Logger } from "./log/logger.ts";
import { createManifestProvider } from "./sandbox/manifest/provider.ts";
import { createEndpointRules, type EndpointRules } from "./sandbox/projection/endpoint-rules.ts";
import type { SandboxProvider } from "./sandbox/provider.ts";
import { buildInfo } from "./version.ts";

/** What a source of sandboxes touches of the world. */
export interface SourceSeams {
  readonly clock: Clock;
  /**
   * Where the Kubernetes client looks for credentials: KUBECONFIG, HOME and the in-cluster variables. It also names
   * addresses at which no sandbox is.
   */
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** The text of `/etc/resolv.conf`. Default: empty. */
  readonly resolverConfig?: string;
}

/** What the endpoint of a sandbox may be, as the configuration has it. */
export function buildEndpointRules(config: Config, { clock, environment, resolverConfig }: SourceSeams): EndpointRules {
  return createEndpointRules({
    clock,
    environment,
    clusterDomain: config.clusterDomain ?? readClusterDomain(resolverConfig ?? ""),
    allowLoopback: config.allowLoopbackEndpoints,
    ranges: config.endpointRanges,
    // Whoever writes manifests may name loopback addresses, so the machine's other addresses are no secret from them.
    ...(config.manifests === undefined ? {} : { ownAddresses: () => NO_ADDRESSES }),
  });
}

const NO_ADDRESSES: ReadonlySet<string> = new Set();

/** Manifests or Kubernetes, as the configuration has it. Touches neither network nor files before it is started. */
export async function createProvider(
  config: Config,
  parts: Pick<SourceSeams, "clock" | "environment"> & { readonly logger: Logger; readonly endpoints: EndpointRules },
): Promise<SandboxProvider> {
  const { providerType, namespaces } = config;
  const { clock, logger, environment, endpoints } = parts;
  if (config.manifests !== undefined) {
    return createManifestProvider({ path: config.manifests, providerType, namespaces, endpoints, clock, logger });
  }
  // Loaded only where it is needed: the Kubernetes client is most of the program's code.
  const [{ createKubeClient }, { createKubernetesProvider }] = await Promise.all([
    import("./kube/client.ts"),
    import("./sandbox/kubernetes/provider.ts"),
  ]);
  const { allNamespaces } = config;
  const client = createKubeClient(
    { kubeconfig: config.kubeconfig, environment },
    { clock, userAgent: `opensandbox-ingress/${buildInfo.version}` },
  );
  return createKubernetesProvider({
    client,
    providerType,
    namespaces,
    allNamespaces,
    endpoints,
    logger,
    clock,
  });
}
