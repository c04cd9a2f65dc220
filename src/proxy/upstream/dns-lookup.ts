import { getServers } from "node:dns";
import { isIP } from "node:net";
import { type Clock, systemClock } from "../../clock.ts";
import { buildDnsQuery, isDnsAnswerTo, readDnsAnswer } from "./dns-message.ts";

/** What a look-up of a name found. */
export interface NameAnswer {
  /** As the DNS gives them; empty: the name does not exist, or has no address. */
  readonly addresses: readonly string[];
  /** The family of addresses that could not be looked up, so that nothing is known of it; undefined: both could. */
  readonly unanswered: 4 | 6 | undefined;
}

/** Looks a name up once. Rejects when nothing is known of the name: no server answers, or all answer with errors. */
export type LookupName = (name: string) => Promise<NameAnswer>;

export interface DnsLookupOptions {
  /** Follows the names that end with `.svc`, which have no meaning outside the cluster. */
  readonly clusterDomain: string;
  /** `address` or `address:port`, an IPv6 address with a port in brackets. Default: those of `/etc/resolv.conf`. */
  readonly servers?: readonly string[];
  /** Default: the machine's. */
  readonly clock?: Pick<Clock, "setTimer">;
}

/**
 * How long all servers together may take for one family, in milliseconds; each has an equal part. Whoever waits for the
 * name asks again soon.
 */
export const QUERY_MAX_MS = 1_500;

/** As many servers as `/etc/resolv.conf` may name (`MAXNS` of resolv.conf(5)). */
const SERVERS_MAX = 3;

/** RFC 1035 §4.2.1. */
const DNS_PORT = 53;

/**
 * Looks names up at the cluster's DNS servers, both families at once, over UDP.
 *
 * Not `lookup` of the system: each of its calls blocks one of the few threads that also read files, for up to 20 s where
 * a name's server is slow, and a tenant can make such a name (an `ExternalName` Service with a slow server of its own).
 * 40 of them stopped every read of a file for 20 s. The search list and `/etc/hosts` are not asked, since the names of
 * Services are complete.
 *
 * Not `Resolver` of `node:dns` either. It keeps each answer, also the one that a name does not exist, for as long as the
 * answer says, 30 s in many clusters: a new address would be noticed as much later. It also takes answers of 64 KiB over
 * TCP and reads them in 24 ms, during which nothing else runs; a tenant can make names that have such answers.
 */
export function createDnsLookup(options: DnsLookupOptions): LookupName {
  const { clusterDomain, clock = systemClock } = options;
  return async (name) => {
    const full = name.endsWith(".svc") ? `${name}.${clusterDomain}` : name;
    const servers = (options.servers ?? getServers()).slice(0, SERVERS_MAX).map(readServer);
    const [ipv4, ipv6] = await Promise.all([
      collect({ name: full, family: 4, servers, clock }),
      collect({ name: full, family: 6, servers, clock }),
    ]);
    if (Array.isArray(ipv4) && Array.isArray(ipv6)) return { addresses: [...ipv4, ...ipv6], unanswered: undefined };
    if (Array.isArray(ipv4)) return { addresses: ipv4, unanswered: 6 };
    if (Array.isArray(ipv6)) return { addresses: ipv6, unanswered: 4 };
    throw ipv4;
  };
}

interface Server {
  readonly hostname: string;
  readonly port: number;
}

function readServer(text: string): Server {
  if (isIP(text) !== 0) return { hostname: text, port: DNS_PORT };
  const colon = text.lastIndexOf(":");
  return { hostname: text.slice(0, colon).replace(/^\[|\]$/g, ""), port: Number(text.slice(colon + 1)) };
}

interface Query {
  readonly name: string;
  readonly family: 4 | 6;
  readonly clock: Pick<Clock, "setTimer">;
}

/** The addresses of one family, or the error that hides them: of the first server that answers, in their order. */
async function collect({
  servers,
  ...query
}: Query & { readonly servers: readonly Server[] }): Promise<string[] | Error> {
  let failure = new Error("no DNS server is known");
  for (const server of servers) {
    try {
      return await ask(server, { ...query, maxMs: QUERY_MAX_MS / servers.length });
    } catch (error) {
      failure = error instanceof Error ? error : new Error(String(error));
    }
  }
  return failure;
}

/** Asks one server from a port of its own, which the system chooses at random: one more thing to guess for a forger. */
async function ask(server: Server, options: Query & { readonly maxMs: number }): Promise<string[]> {
  const { name, family, maxMs, clock } = options;
  const [id = 0] = crypto.getRandomValues(new Uint16Array(1));
  const query = buildDnsQuery({ name, family, id });
  const answer = Promise.withResolvers<Buffer>();
  // Where the query cannot be sent nobody waits for it.
  void answer.promise.catch(() => {});
  const socket = await Bun.udpSocket({
    connect: server,
    binaryType: "buffer",
    socket: {
      data: (_socket, datagram) => {
        if (isDnsAnswerTo(query, datagram)) answer.resolve(datagram);
      },
      error: (error) => answer.reject(error),
    },
  });
  const timer = clock.setTimer(maxMs, () => answer.reject(new Error(`no DNS server answered for ${maxMs} ms`)));
  try {
    socket.send(query);
    return readDnsAnswer(query, await answer.promise, family);
  } finally {
    timer.cancel();
    socket.close();
  }
}
