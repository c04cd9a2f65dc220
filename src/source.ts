import type { Clock } from "./clock.ts";
import { type Config, readClusterDomain } from "./config/parse-config.ts";
import type { LookupHost } from "./kube/server-addresses.ts";
import type { Logger } from "./log/logger.ts";
import { createManifestProvider } from "./sandbox/manifest/provider.ts";
import { createEndpointRules, type EndpointRules } from "./sandbox/projection/endpoint-rules.ts";
import type { SandboxProvider, SandboxWaker } from "./sandbox/provider.ts";
import { buildInfo } from "./version.ts";

/** What a source of sandboxes needs from its environment. */
export interface SourceSeams {
  readonly clock: Clock;
  /**
   * The Kubernetes client finds credentials here: KUBECONFIG, HOME and the in-cluster variables. It also names
   * addresses that no sandbox may have.
   */
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** The text of `/etc/resolv.conf`. Default: empty. */
  readonly resolverConfig?: string;
  /** Finds the addresses of an API server whose URL has a name. Default: the system's look-up. */
  readonly lookupHost?: LookupHost;
}

/** Makes the rules for endpoints of sandboxes from the configuration. */
export function buildEndpointRules(config: Config, { clock, environment, resolverConfig }: SourceSeams): EndpointRules {
  return createEndpointRules({
    clock,
    environment,
    clusterDomain: config.clusterDomain ?? readClusterDomain(resolverConfig ?? ""),
    allowLoopback: config.allowLoopbackEndpoints,
    ranges: config.endpointRanges,
    // Writers of manifests may name loopback addresses, so the machine's other addresses need no protection from them.
    ...(config.manifests === undefined ? {} : { ownAddresses: () => NO_ADDRESSES }),
  });
}

const NO_ADDRESSES: ReadonlySet<string> = new Set();

/** The source of sandboxes. */
export interface Source {
  readonly provider: SandboxProvider;
  /** Undefined: nothing wakes sandboxes. */
  readonly waker: SandboxWaker | undefined;
}

/**
 * Makes the provider of the configuration: manifests or Kubernetes. It uses neither network nor files before it is
 * started.
 */
export async function createProvider(
  config: Config,
  parts: Omit<SourceSeams, "resolverConfig"> & { readonly logger: Logger; readonly endpoints: EndpointRules },
): Promise<Source> {
  const { providerType, namespaces } = config;
  const { clock, logger, environment, lookupHost, endpoints } = parts;
  if (config.manifests !== undefined) {
    const path = config.manifests;
    const provider = createManifestProvider({ path, providerType, namespaces, endpoints, clock, logger });
    return { provider, waker: undefined };
  }
  // This is loaded only if needed, since the Kubernetes client is most of the program's code.
  const [{ createKubeClient }, { createServerAddresses }, { createKubernetesProvider }, { createKubeWaker }] =
    await Promise.all([
      import("./kube/client.ts"),
      import("./kube/server-addresses.ts"),
      import("./sandbox/kubernetes/provider.ts"),
      import("./sandbox/kubernetes/waker.ts"),
    ]);
  const { allNamespaces } = config;
  const client = createKubeClient(
    { kubeconfig: config.kubeconfig, environment },
    {
      clock,
      userAgent: `opensandbox-ingress/${buildInfo.version}`,
      // Known before the first list, so that each record is judged by it.
      onServer: createServerAddresses({ clock, lookupHost, onAddresses: (found) => endpoints.learnApiServer(found) }),
    },
  );
  const common = { client, providerType, logger, clock };
  const provider = createKubernetesProvider({ ...common, namespaces, allNamespaces, endpoints });
  return { provider, waker: config.hold.wake.enabled ? createKubeWaker(common) : undefined };
}
