import { parseAddress } from "../address.ts";

/** Groups of an IPv6 address, and how many of them form its /64 and its /48. */
const IPV6_GROUPS = 8;
const NETWORK_GROUPS = 4;
const SITE_GROUPS = 3;

/** What failures of a client are counted against. */
export interface ClientNetwork {
  /**
   * The IPv4 address, or the /64 of the IPv6 address. A host gets at least a /64 (RFC 6177 §2, RFC 4291 §2.5.4) and may
   * use a new address in it for each request (RFC 8981). A text that is not an address stands for itself.
   */
  readonly network: string;
  /** The /48 of the IPv6 address, the most that one site gets (RFC 6177 §2); undefined for IPv4. */
  readonly site: string | undefined;
}

/** @param clientAddress Canonical, as from `parseAddress`. */
export function clientNetworkOf(clientAddress: string): ClientNetwork {
  if (!clientAddress.includes(":")) return { network: clientAddress, site: undefined };
  // A mapped IPv4 address must not share one /64 with all others of its kind, even if the caller did not unmap it.
  const mapped = clientAddress.startsWith("::ffff:") ? parseAddress(clientAddress) : undefined;
  if (mapped !== undefined) return { network: mapped, site: undefined };
  const [head = "", tail] = clientAddress.split("::");
  const groups = splitGroups(head);
  if (tail !== undefined) {
    const missing = IPV6_GROUPS - groups.length - splitGroups(tail).length;
    for (let left = missing; left > 0; left--) groups.push("0");
    groups.push(...splitGroups(tail));
  }
  return {
    network: `${groups.slice(0, NETWORK_GROUPS).join(":")}::/64`,
    site: `${groups.slice(0, SITE_GROUPS).join(":")}::/48`,
  };
}

function splitGroups(text: string): string[] {
  return text === "" ? [] : text.split(":");
}
