import { type AddressSet, classifyAddress, parseAddress } from "../../address.ts";

/** Where a request came from, as far as trusted proxies tell. */
export interface ClientAddress {
  /** The peer of the TCP connection, canonical. */
  readonly peer: string;
  /** Whether the peer is one of `--trusted-proxies`. Only then its forwarding headers count. */
  readonly peerTrusted: boolean;
  /** The last hop that is not trusted, for limits and logs. If all hops are trusted or there are none, the peer. */
  readonly client: string;
  /**
   * Whether many clients may share the client's address: it is private, and no trusted proxy named it. A gateway or a
   * node in front makes all clients look like itself.
   */
  readonly isShared: boolean;
}

/**
 * Hops of `X-Forwarded-For` that are read, from the right. So a hostile client cannot make the list expensive. Real
 * paths from client to ingress have fewer proxies.
 */
const MAX_HOPS = 32;

/**
 * Peers that are remembered, since few peers send most requests. When it is full, it starts anew. Hops are not
 * remembered, since clients can invent them.
 */
const PEERS_MAX = 1_024;

/**
 * Finds the address of the client.
 *
 * @param peer The peer of the socket. An IPv4-mapped address counts as the IPv4 address.
 * @param forwardedFor The value of `X-Forwarded-For`; undefined: the header is missing.
 */
export type ResolveClientAddress = (peer: string, forwardedFor: string | undefined) => ClientAddress;

/** @param trusted `--trusted-proxies`. */
export function createClientAddressResolver(trusted: AddressSet): ResolveClientAddress {
  const peers = new Map<string, ClientAddress>();
  return (peer, forwardedFor) => {
    let direct = peers.get(peer);
    if (direct === undefined) {
      direct = describePeer(peer, trusted);
      if (peers.size >= PEERS_MAX) peers.clear();
      peers.set(peer, direct);
    }
    if (!direct.peerTrusted || forwardedFor === undefined) return direct;
    const told = lastUntrusted(forwardedFor, trusted);
    return told === undefined ? direct : { ...direct, client: told, isShared: false };
  };
}

function describePeer(peer: string, trusted: AddressSet): ClientAddress {
  const canonical = peer.startsWith("::ffff:") ? (parseAddress(peer) ?? peer) : peer;
  const peerTrusted = trusted.has(canonical);
  const isPublic = parseAddress(canonical) !== undefined && classifyAddress(canonical) === "global";
  return { peer: canonical, peerTrusted, client: canonical, isShared: peerTrusted || !isPublic };
}

/** The rightmost address that is not trusted; undefined: an invalid hop comes first, or all hops are trusted. */
function lastUntrusted(forwardedFor: string, trusted: AddressSet): string | undefined {
  let end = forwardedFor.length;
  for (let hop = 0; hop < MAX_HOPS && end > 0; hop++) {
    const comma = forwardedFor.lastIndexOf(",", end - 1);
    const address = parseHop(forwardedFor.slice(comma + 1, end).trim());
    if (address === undefined) return undefined;
    if (!trusted.has(address)) return address;
    end = comma;
  }
  return undefined;
}

/** Some proxies write `address:port`, and some put IPv6 addresses in brackets. */
function parseHop(text: string): string | undefined {
  const address = parseAddress(text);
  if (address !== undefined) return address;
  const withPort = /^(?:\[([0-9A-Fa-f:.]{2,45})\]|([0-9.]{7,15}))(?::\d{1,5})?$/.exec(text);
  return withPort === null ? undefined : parseAddress(withPort[1] ?? withPort[2] ?? "");
}
