import { networkInterfaces } from "node:os";
import { classifyAddress, parseAddress } from "../../address.ts";
import type { Clock } from "../../clock.ts";

/**
 * Environment variables with addresses that are never a sandbox's: the API server's, set by the kubelet, and the node's
 * and the pod's own, set by the downward API. One address, or several separated by commas. The second is the API server's, too:
 * some clouds set a name in place of the first (AKS, `kubernetes.azure.com/set-kube-service-host-fqdn`).
 */
const ADDRESS_VARIABLES = [
  "KUBERNETES_SERVICE_HOST",
  "KUBERNETES_PORT_443_TCP_ADDR",
  "HOST_IP",
  "HOST_IPS",
  "NODE_IP",
  "NODE_IPS",
  "POD_IP",
  "POD_IPS",
] as const;

/**
 * Longest age of a reading of the interfaces, in milliseconds: addresses come and go with interfaces and leases. A
 * reading costs a few system calls, too many to do it for each object of a list.
 */
const READING_MAX_AGE_MS = 10_000;

/** The canonical addresses in the environment's variables. A variable without an address is skipped. */
export function readEnvironmentAddresses(
  environment: Readonly<Record<string, string | undefined>>,
): ReadonlySet<string> {
  const found = new Set<string>();
  for (const name of ADDRESS_VARIABLES) {
    for (const part of environment[name]?.split(",") ?? []) {
      const address = parseAddress(part.trim());
      if (address !== undefined) found.add(address);
    }
  }
  return found;
}

/**
 * The current canonical addresses of this machine; in a pod, of the pod. Loopback is left out: it has its own rule and
 * may be allowed.
 */
export function readOwnAddresses(): ReadonlySet<string> {
  const own = new Set<string>();
  for (const entry of Object.values(networkInterfaces()).flat()) {
    const address = parseAddress(entry?.address ?? "");
    if (address !== undefined && classifyAddress(address) !== "loopback") own.add(address);
  }
  return own;
}

/**
 * Returns the machine's own addresses, read again when the last reading is older than 10 s.
 *
 * @param read Default: `readOwnAddresses`.
 */
export function trackOwnAddresses(clock: Clock, read = readOwnAddresses): () => ReadonlySet<string> {
  let own: ReadonlySet<string> = new Set();
  let readAtMs = Number.NEGATIVE_INFINITY;
  return () => {
    const nowMs = clock.monotonic();
    if (nowMs - readAtMs >= READING_MAX_AGE_MS) {
      own = read();
      readAtMs = nowMs;
    }
    return own;
  };
}
