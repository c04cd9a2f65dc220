import { systemClock } from "../../../src/clock.ts";
import {
  createEndpointRules,
  type EndpointRules,
  type EndpointRulesOptions,
} from "../../../src/sandbox/projection/endpoint-rules.ts";

/** The rules for endpoints in an ordinary cluster, with changes. The machine's own addresses are not read. */
export function endpointRules(change: Partial<EndpointRulesOptions> = {}): EndpointRules {
  return createEndpointRules({
    clock: systemClock,
    clusterDomain: "cluster.local",
    allowLoopback: false,
    ownAddresses: () => new Set(),
    ...change,
  });
}
