import { type AddressSet, classifyAddress, parseAddress } from "../../address.ts";
import type { Clock } from "../../clock.ts";
import { readEnvironmentAddresses, trackOwnAddresses } from "./own-addresses.ts";

/** Why a canonical address must not be dialled, as the end of a sentence about it; undefined if it may be dialled. */
export type JudgeAddress = (address: string) => string | undefined;

/**
 * What an endpoint may be. The program has one set of rules: addresses in resources and addresses from DNS are judged
 * alike.
 */
export interface EndpointRules {
  readonly judge: JudgeAddress;
  /** Lower case, without a dot at either end: `cluster.local`. */
  readonly clusterDomain: string;
  /**
   * From now on these addresses are the API server's, too. Texts that are no address are skipped, and so is loopback,
   * which has its own rule. The last 64 addresses count, since a name can have other addresses at each look-up.
   */
  learnApiServer(addresses: Iterable<string>): void;
}

/** Load balancers have a few addresses. Many more come only from a DNS that answers differently each time. */
const LEARNT_MAX = 64;

export interface EndpointRulesOptions {
  readonly clock: Clock;
  readonly clusterDomain: string;
  /** Whether loopback addresses may be endpoints: for manifests, tests and demos. */
  readonly allowLoopback: boolean;
  /** `--endpoint-ranges`: every endpoint must lie in them, loopback too. Undefined: no limit. */
  readonly ranges?: AddressSet | undefined;
  /** Names addresses of the API server, the node and the pod. Default: empty. */
  readonly environment?: Readonly<Record<string, string | undefined>>;
  /** Current canonical addresses of the machine. Default: those of its interfaces. */
  readonly ownAddresses?: () => ReadonlySet<string>;
}

/**
 * Anyone who can write an annotation, a status or a DNS record must not use it to reach the ingress itself, its node,
 * the API server or the cloud's metadata server. The ranges only narrow this: they never allow an address that is
 * refused otherwise.
 */
export function createEndpointRules(options: EndpointRulesOptions): EndpointRules {
  const { allowLoopback, ranges, clusterDomain } = options;
  const ownAddresses = options.ownAddresses ?? trackOwnAddresses(options.clock);
  const named = readEnvironmentAddresses(options.environment ?? {});
  const learnt = new Set<string>();
  return {
    clusterDomain,
    learnApiServer(addresses) {
      for (const text of addresses) {
        const address = parseAddress(text);
        if (address === undefined || classifyAddress(address) === "loopback") continue;
        learnt.delete(address);
        learnt.add(address);
        const [oldest] = learnt.size > LEARNT_MAX ? learnt : [];
        if (oldest !== undefined) learnt.delete(oldest);
      }
    },
    judge(address) {
      const kind = classifyAddress(address);
      const isPodKind = kind === "private" || kind === "global" || (kind === "loopback" && allowLoopback);
      if (!isPodKind) return `is a ${kind} address, which a pod cannot have`;
      if (learnt.has(address)) return "is an address of the API server";
      if (named.has(address)) return "is an address of the API server, the node or the ingress itself";
      if (ownAddresses().has(address)) return "is an address of the ingress itself";
      if (ranges?.has(address) === false) return "is outside --endpoint-ranges";
      return undefined;
    },
  };
}
