import { getServers } from "node:dns";
import { isIP } from "node:net";
import { type Clock, systemClock } from "../../clock.ts";
import { buildDnsQuery, isDnsAnswerTo, readDnsAnswer } from "./dns-message.ts";

/** The result of a look-up of a name. */
export interface NameAnswer {
  /** As the DNS returns them; empty: the name does not exist or has no address. */
  readonly addresses: readonly string[];
  /** The family of addresses that could not be looked up and is unknown; undefined: both could. */
  readonly unanswered: 4 | 6 | undefined;
}

/** Looks a name up once. Rejects if nothing is known about the name: no server answers, or all answer with errors. */
export type LookupName = (name: string) => Promise<NameAnswer>;

export interface DnsLookupOptions {
  /** Appended to names that end with `.svc`, which have no meaning outside the cluster. */
  readonly clusterDomain: string;
  /**
   * `address` or `address:port`; an IPv6 address with a port is in brackets. Default: the servers of
   * `/etc/resolv.conf`.
   */
  readonly servers?: readonly string[];
  /** Default: the clock of the machine. */
  readonly clock?: Pick<Clock, "setTimer">;
}

/**
 * How long all servers together may take for one family, in milliseconds. Each server gets an equal part. Whoever waits
 * for the name asks again soon.
 */
export const QUERY_MAX_MS = 1_500;

/** `/etc/resolv.conf` may name this many servers (`MAXNS` of resolv.conf(5)). */
const SERVERS_MAX = 3;

/** RFC 1035 §4.2.1. */
const DNS_PORT = 53;

/**
 * Looks names up at the cluster's DNS servers, both families at once, over UDP.
 *
 * It does not use `lookup` of the system. Each of its calls blocks one of the few threads that also read files, for up
 * to 20 s if a name's server is slow. A tenant can make such a name: an `ExternalName` Service with a slow server of
 * its own. 40 of them stopped every read of a file for 20 s. The search list and `/etc/hosts` are not needed, since the
 * names of Services are complete.
 *
 * It does not use `Resolver` of `node:dns` either. That keeps each answer for as long as the answer says, 30 s in many
 * clusters, even the answer that a name does not exist. So a new address would be noticed that much later. It also
 * accepts answers of 64 KiB over TCP and parses them in 24 ms, during which nothing else runs. A tenant can make names
 * with such answers.
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

/** The addresses of one family, or the last error. The servers are asked in order until one answers. */
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

/**
 * Asks one server. Each query uses its own port, which the system chooses at random, so that a forger must guess it
 * too.
 */
async function ask(server: Server, options: Query & { readonly maxMs: number }): Promise<string[]> {
  const { name, family, maxMs, clock } = options;
  const [id = 0] = crypto.getRandomValues(new Uint16Array(1));
  const query = buildDnsQuery({ name, family, id });
  const answer = Promise.withResolvers<Buffer>();
  // If the query cannot be sent, nobody waits for the answer.
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
