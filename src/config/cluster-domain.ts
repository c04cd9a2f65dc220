import { isDnsLabel } from "../values.ts";

/** The domain of a Kubernetes cluster by default. */
const DEFAULT_DOMAIN = "cluster.local";
/** RFC 1035 §2.3.4, without the final dot. */
const DNS_NAME_MAX_CHARS = 253;

/**
 * Whether a text can be the domain of a cluster: lower case, not a name that resolvers answer themselves (`localhost`,
 * RFC 6761 §6.3), and not a name that URL parsers take for an IPv4 address (WHATWG URL, "ends in a number").
 */
function isClusterDomain(text: string): boolean {
  if (text.length > DNS_NAME_MAX_CHARS) return false;
  const labels = text.split(".");
  const top = labels.at(-1) ?? "";
  return labels.every(isDnsLabel) && !/^\d/.test(top) && top !== "localhost";
}

/** Parses `--cluster-domain`. Throws an Error if the text cannot be a cluster's domain. */
export function parseClusterDomain(text: string): string {
  const domain = text.toLowerCase().replace(/\.$/, "");
  if (!isClusterDomain(domain)) throw new Error("expected the domain of a cluster, such as cluster.local");
  return domain;
}

/**
 * The cluster's domain from the resolver's search list, where the kubelet writes `svc.<domain>` (Kubernetes, "DNS for
 * Services and Pods"); `cluster.local` if there is no such entry.
 *
 * @param resolverConfig The text of `/etc/resolv.conf`. The last of several search lists counts (resolv.conf(5)).
 */
export function readClusterDomain(resolverConfig: string): string {
  let domains: readonly string[] = [];
  for (const line of resolverConfig.split("\n")) {
    const [keyword, ...entries] = line.trim().split(/\s+/);
    if (keyword === "search") domains = entries;
  }
  for (const entry of domains) {
    const name = entry.toLowerCase().replace(/\.$/, "");
    const domain = name.slice("svc.".length);
    if (name.startsWith("svc.") && isClusterDomain(domain)) return domain;
  }
  return DEFAULT_DOMAIN;
}
