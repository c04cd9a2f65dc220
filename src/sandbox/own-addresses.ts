import { networkInterfaces } from "node:os";
import { classifyAddress, parseAddress } from "../address.ts";

/**
 * The addresses of this machine (in a pod: of this pod), canonical, as they are now. Without loopback, which is judged by
 * itself and may be allowed.
 */
export function readOwnAddresses(): ReadonlySet<string> {
  const own = new Set<string>();
  for (const entry of Object.values(networkInterfaces()).flat()) {
    const address = parseAddress(entry?.address ?? "");
    if (address !== undefined && classifyAddress(address) !== "loopback") own.add(address);
  }
  return own;
}
