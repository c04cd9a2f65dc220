import { type AddressSet, classifyAddress } from "../../address.ts";
import type { Clock } from "../../clock.ts";
import { readEnvironmentAddresses, trackOwnAddresses } from "./own-addresses.ts";

/** Why a canonical address must not be dialled, as the end of a sentence about it; undefined: it may be. */
export type JudgeAddress = (address: string) => string | undefined;

/** What an endpoint may be. One for the whole program: what a resource names and what a name resolves to are judged alike. */
export interface EndpointRules {
  readonly judge: JudgeAddress;
  /** Lower case, without dots at its ends: `cluster.local`. */
  readonly clusterDomain: string;
}

export interface EndpointRulesOptions {
  readonly clock: Clock;
  readonly clusterDomain: string;
  /** Whether a loopback address may be an endpoint: for manifests, tests and demos. */
  readonly allowLoopback: boolean;
  /** `--endpoint-ranges`: where every endpoint must lie, a loopback one too; undefined: no limit. */
  readonly ranges?: AddressSet | undefined;
  /** Names the API server's, the node's and the pod's addresses. Default: nothing. */
  readonly environment?: Readonly<Record<string, string | undefined>>;
  /** Canonical addresses of the machine, as they are now. Default: those of its interfaces. */
  readonly ownAddresses?: () => ReadonlySet<string>;
}

/**
 * Whoever may write an annotation, a status or a DNS record must not reach the ingress itself, its node, the API server
 * or the cloud's metadata server through it. The ranges only narrow this: they allow nothing that is refused otherwise.
 */
export function createEndpointRules(options: EndpointRulesOptions): EndpointRules {
  const { allowLoopback, ranges, clusterDomain } = options;
  const ownAddresses = options.ownAddresses ?? trackOwnAddresses(options.clock);
  const named = readEnvironmentAddresses(options.environment ?? {});
  return {
    clusterDomain,
    judge(address) {
      const kind = classifyAddress(address);
      const isPodKind = kind === "private" || kind === "global" || (kind === "loopback" && allowLoopback);
      if (!isPodKind) return `is a ${kind} address, which no pod has`;
      if (named.has(address)) return "is an address of the API server, the node or the ingress itself";
      if (ownAddresses().has(address)) return "is an address of the ingress itself";
      if (ranges?.has(address) === false) return "is outside --endpoint-ranges";
      return undefined;
    },
  };
}
