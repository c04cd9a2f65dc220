import { BlockList, isIPv4, isIPv6 } from "node:net";

/**
 * The kind of an address. Only `global` and `private` addresses can be a pod's. The others must never be dialled
 * because a custom resource says so. `reserved`: a cloud's metadata server, or an IPv6 address that stands for an IPv4
 * address.
 */
export type AddressClass = "global" | "private" | "loopback" | "link-local" | "unspecified" | "multicast" | "reserved";

/**
 * The canonical text of an IP address, or undefined if `text` is not one.
 *
 * Accepts dotted-decimal IPv4 (no octal, hex or short forms) and RFC 4291 IPv6 without brackets and without a zone.
 * IPv6 is returned in RFC 5952 form, an IPv4-mapped address (RFC 4291 §2.5.5.2) as its IPv4 address.
 */
export function parseAddress(text: string): string | undefined {
  if (isIPv4(text)) return text;
  if (!isIPv6(text) || text.includes("%")) return undefined;
  const canonical = new URL(`http://[${text}]`).hostname.slice(1, -1);
  return mappedIpv4(canonical) ?? canonical;
}

/** The class of a canonical address (from `parseAddress`). */
export function classifyAddress(address: string): AddressClass {
  for (const [name, ranges] of CLASSES) if (ranges.has(address)) return name;
  return "global";
}

/** The address as the host part of a URL: IPv6 in brackets (RFC 3986 §3.2.2). */
export function formatUrlHost(address: string): string {
  return address.includes(":") ? `[${address}]` : address;
}

/** A set of address ranges. */
export interface AddressSet {
  /** Whether the canonical address is in one of the ranges; false if the text is not an address. */
  has(address: string): boolean;
}

/**
 * Parses `none`, `private` (loopback, RFC 1918, RFC 6598 and `fc00::/7`), or a comma-separated list of `private`,
 * addresses and CIDR ranges. Throws an Error that names the invalid part.
 */
export function parseAddressSet(text: string): AddressSet {
  if (text.trim() === "none") return { has: () => false };
  const ranges = new AddressRanges();
  for (const part of text.split(",").map((item) => item.trim())) {
    for (const range of part === "private" ? PRIVATE_RANGES : [part]) ranges.add(range);
  }
  return ranges;
}

/** As `parseAddressSet`, but accepts only addresses and CIDR ranges: neither `private` nor `none`. */
export function parseAddressRanges(text: string): AddressSet {
  const word = text.split(",").find((part) => /^(?:private|none)$/.test(part.trim()));
  if (word === undefined) return parseAddressSet(text);
  throw new Error(`Cannot parse address range "${word.trim()}": expected an address or a CIDR range`);
}

/** Bits of an address of each family, and of the prefix of an IPv4-mapped one (RFC 4291 §2.5.5.2). */
const IPV4_BITS = 32;
const IPV6_BITS = 128;
const MAPPED_BITS = 96;
const MAPPED_PREFIX = "::ffff:";

/**
 * Ranges of both families, which stay apart: `::/0` is every IPv6 address and no IPv4 address, unlike in one
 * `BlockList` of Bun or Node.js. A range of IPv4-mapped addresses is one of IPv4, since a canonical address is never
 * mapped.
 */
export class AddressRanges implements AddressSet {
  readonly #ipv4 = new BlockList();
  readonly #ipv6 = new BlockList();

  /** Adds an address or a CIDR range. Throws an Error that names it if it is neither. */
  add(range: string): void {
    const [base = "", bitsText, ...rest] = range.split("/");
    const address = parseAddress(base);
    if (address === undefined || rest.length > 0) {
      throw new Error(`Cannot parse address range "${range}": expected private, none, an address or a CIDR range`);
    }
    const isMapped = isIPv4(address) && base.includes(":");
    const [least, most] = [isMapped ? MAPPED_BITS : 0, base.includes(":") ? IPV6_BITS : IPV4_BITS];
    const bits = bitsText === undefined ? most : /^(?:0|[1-9]\d{0,2})$/.test(bitsText) ? Number(bitsText) : -1;
    if (bits < least || bits > most) {
      throw new Error(`Cannot parse address range "${range}": the prefix length must be between ${least} and ${most}`);
    }
    if (isIPv4(address)) this.#ipv4.addSubnet(address, bits - least, "ipv4");
    else this.#ipv6.addSubnet(address, bits, "ipv6");
  }

  has(address: string): boolean {
    const canonical = address.startsWith(MAPPED_PREFIX) ? (parseAddress(address) ?? address) : address;
    if (isIPv4(canonical)) return this.#ipv4.check(canonical, "ipv4");
    // A zone names an interface of one machine, so it belongs to no range.
    return isIPv6(canonical) && !canonical.includes("%") && this.#ipv6.check(canonical, "ipv6");
  }
}

/** Loopback, RFC 1918, RFC 6598 (carrier-grade NAT, used for pods by some clouds), RFC 4193. */
const PRIVATE_RANGES = [
  "127.0.0.0/8",
  "::1/128",
  "10.0.0.0/8",
  "172.16.0.0/12",
  "192.168.0.0/16",
  "100.64.0.0/10",
  "fc00::/7",
] as const;

function rangesOf(...ranges: readonly string[]): AddressSet {
  const list = new AddressRanges();
  for (const range of ranges) list.add(range);
  return list;
}

/**
 * Where clouds serve credentials to a machine, outside the link-local ranges (169.254.169.254 of most clouds,
 * 169.254.170.2 and .23 of AWS, 169.254.42.42 of Scaleway). Sources: the clouds' documents and the data sources of
 * cloud-init.
 */
const CLOUD_METADATA = [
  "100.100.100.200", // Alibaba Cloud, in RFC 6598's range
  "fd00:100::100:200", // Alibaba Cloud
  "168.63.129.16", // Azure, a public address
  "192.0.0.192", // Oracle Cloud Classic
  "fd00:c1::a9fe:a9fe", // Oracle Cloud
  "fd00:ec2::/32", // AWS: instance metadata, EKS Pod Identity (::23), DNS and time
  "fd20:ce::254", // Google Cloud
  "fd00:42::42", // Scaleway
  "fd00:a9fe:a9fe::1", // Akamai (Linode)
] as const;

/**
 * Ranges that can stand for any IPv4 address, link-local ones too: IPv4-compatible (RFC 4291 §2.5.5.1), IPv4-translated
 * (RFC 2765 §2.1), NAT64 (RFC 6052, RFC 8215), Teredo (RFC 4380 §4), 6to4 (RFC 3056 §2).
 */
const EMBEDDED_IPV4 = ["::/96", "::ffff:0:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48", "2001::/32", "2002::/16"] as const;

/**
 * The first match wins. Sources: RFC 6890 and the IANA special-purpose registries. 255.255.255.255 counts as multicast.
 */
const CLASSES: readonly (readonly [AddressClass, AddressSet])[] = [
  ["loopback", rangesOf("127.0.0.0/8", "::1/128")],
  ["unspecified", rangesOf("0.0.0.0/8", "::/128")],
  ["link-local", rangesOf("169.254.0.0/16", "fe80::/10")],
  ["multicast", rangesOf("224.0.0.0/4", "255.255.255.255/32", "ff00::/8")],
  ["reserved", rangesOf(...CLOUD_METADATA, ...EMBEDDED_IPV4)],
  ["private", rangesOf(...PRIVATE_RANGES)],
];

/** Converts `URL`'s RFC 5952 form of a mapped address, `::ffff:aabb:ccdd`, to dotted decimal. */
function mappedIpv4(canonical: string): string | undefined {
  if (!canonical.startsWith(MAPPED_PREFIX)) return undefined;
  const [high, low, ...rest] = canonical.slice(MAPPED_PREFIX.length).split(":");
  if (high === undefined || low === undefined || rest.length > 0) return undefined;
  const value = Number.parseInt(high, 16) * 0x10000 + Number.parseInt(low, 16);
  return [value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255].join(".");
}

/** Groups of an IPv6 address, and how many of them make its /64 and its /48. */
const IPV6_GROUPS = 8;
const NETWORK_GROUPS = 4;
const SITE_GROUPS = 3;

/** Whom limits on a client count against. */
export interface ClientNetwork {
  /**
   * Its IPv4 address, or the /64 of its IPv6 address. One host is given at least a /64 (RFC 6177 §2, RFC 4291 §2.5.4)
   * and may take a new address in it for each request (RFC 8981). A text that is no address stands for itself.
   */
  readonly network: string;
  /** The /48 of its IPv6 address, the most that one site is given (RFC 6177 §2); undefined for IPv4. */
  readonly site: string | undefined;
}

/** @param clientAddress Canonical, as `parseAddress` gives it. */
export function clientNetworkOf(clientAddress: string): ClientNetwork {
  if (!clientAddress.includes(":")) return { network: clientAddress, site: undefined };
  // Should a mapped IPv4 address come unmapped after all, it must not share one /64 with all others of its kind.
  const mapped = clientAddress.startsWith(MAPPED_PREFIX) ? parseAddress(clientAddress) : undefined;
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
