import { systemClock } from "../../../src/clock.ts";
import {
  createEndpointRules,
  type EndpointRules,
  type EndpointRulesOptions,
} from "../../../src/sandbox/projection/endpoint-rules.ts";

/** The rules for endpoints in an ordinary cluster, changed as wanted; the machine's own addresses are not looked up. */
export function endpointRules(change: Partial<EndpointRulesOptions> = {}): EndpointRules {
  return createEndpointRules({
    clock: systemClock,
    clusterDomain: "cluster.local",
    allowLoopback: false,
    ownAddresses: () => new Set(),
    ...change,
  });
}
