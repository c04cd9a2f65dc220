import { Resolver } from "node:dns/promises";

/** What a look-up of a name found. */
export interface NameAnswer {
  /** As the DNS gives them; empty: the name does not exist, or has no address. */
  readonly addresses: readonly string[];
  /** The family of addresses that could not be looked up, so that nothing is known of it; undefined: both could. */
  readonly unanswered: 4 | 6 | undefined;
}

/** Looks a name up once. Rejects when nothing is known of the name: no server answers, or one answers with an error. */
export type LookupName = (name: string) => Promise<NameAnswer>;

export interface DnsLookupOptions {
  /** Follows the names that end with `.svc`, which have no meaning outside the cluster. */
  readonly clusterDomain: string;
  /** `address:port`. Default: those of `/etc/resolv.conf`. */
  readonly servers?: readonly string[];
}

/** How long one server of the cluster may take, in milliseconds. Whoever waits for the name asks again soon. */
const QUERY_MAX_MS = 1_500;

/** The DNS's ways to say that there is no such address: an answer, not a failure. */
const NOTHING = new Set(["ENOTFOUND", "ENODATA"]);

/**
 * Looks names up at the cluster's DNS servers, both families at once.
 *
 * Not `lookup` of the system: each of its calls blocks one of the few threads that also read files, for up to 20 s where
 * a name's server is slow, and a tenant can make such a name (an `ExternalName` Service with a slow server of its own).
 * 40 of them stopped every read of a file for 20 s. The search list and `/etc/hosts` are not asked, since the names of
 * Services are complete.
 */
export function createDnsLookup(options: DnsLookupOptions): LookupName {
  const { clusterDomain, servers } = options;
  const resolver = new Resolver({ timeout: QUERY_MAX_MS, tries: 1 });
  if (servers !== undefined) resolver.setServers(servers);
  return async (name) => {
    const full = name.endsWith(".svc") ? `${name}.${clusterDomain}` : name;
    const [ipv4, ipv6] = await Promise.all([collect(resolver.resolve4(full)), collect(resolver.resolve6(full))]);
    if (Array.isArray(ipv4) && Array.isArray(ipv6)) return { addresses: [...ipv4, ...ipv6], unanswered: undefined };
    if (Array.isArray(ipv4)) return { addresses: ipv4, unanswered: 6 };
    if (Array.isArray(ipv6)) return { addresses: ipv6, unanswered: 4 };
    throw ipv4;
  };
}

/** The addresses of one family, or the error that hides them. */
async function collect(answer: Promise<string[]>): Promise<string[] | Error> {
  try {
    return await answer;
  } catch (error) {
    if (!(error instanceof Error)) return new Error(String(error));
    return "code" in error && NOTHING.has(String(error.code)) ? [] : error;
  }
}
