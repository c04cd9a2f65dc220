import { createSocket } from "node:dgram";

/** Addresses; `fail`: SERVFAIL; `silent`: no answer; or the datagrams that answer the query, sent one after the other. */
export type DnsReply = readonly string[] | "fail" | "silent" | ((query: Buffer) => readonly Buffer[]);

/** What a name has. What is not listed does not exist. */
export interface DnsRecords {
  readonly ipv4?: DnsReply;
  /** Eight groups in full, without `::`. */
  readonly ipv6?: DnsReply;
}

/** A DNS server (RFC 1035) on loopback that knows a few names. */
export interface DnsServer extends AsyncDisposable {
  /** `address:port`. */
  readonly address: string;
  /** May be changed while the server runs. */
  readonly names: Map<string, DnsRecords>;
  /** `name/A` or `name/AAAA`, in the order of the questions. */
  readonly asked: readonly string[];
}

const AAAA = 28;
const SOA = 6;
/** How long answers may be kept, also those that say that there is nothing, in seconds: the default of CoreDNS. */
const TTL_SECONDS = 30;

export async function startDnsServer(names: Readonly<Record<string, DnsRecords>> = {}): Promise<DnsServer> {
  const known = new Map(Object.entries(names));
  const asked: string[] = [];
  const socket = createSocket("udp4");
  socket.on("message", (query, peer) => {
    const { name, end } = readName(query);
    const isIpv6 = query.readUInt16BE(end) === AAAA;
    asked.push(`${name}/${isIpv6 ? "AAAA" : "A"}`);
    const entry = known.get(name);
    const found = entry === undefined ? undefined : ((isIpv6 ? entry.ipv6 : entry.ipv4) ?? []);
    if (found === "silent") return;
    const replies =
      typeof found === "function" ? found(query) : [buildDnsAnswer(query.subarray(0, end + 4), { found, isIpv6 })];
    for (const reply of replies) socket.send(reply, peer.port, peer.address);
  });
  await new Promise<void>((resolve) => socket.bind(0, "127.0.0.1", resolve));
  return {
    address: `127.0.0.1:${socket.address().port}`,
    names: known,
    asked,
    [Symbol.asyncDispose]: () => new Promise((resolve) => socket.close(() => resolve())),
  };
}

/** The name of the first question, and where it ends. */
function readName(query: Buffer): { name: string; end: number } {
  const labels: string[] = [];
  let at = 12;
  for (let length = query[at] ?? 0; length > 0; length = query[at] ?? 0) {
    labels.push(query.toString("latin1", at + 1, at + 1 + length));
    at += length + 1;
  }
  return { name: labels.join(".").toLowerCase(), end: at + 1 };
}

interface Found {
  readonly found: readonly string[] | "fail" | undefined;
  readonly isIpv6: boolean;
}

/** The answer to a query that ends with its question. */
export function buildDnsAnswer(query: Buffer, { found, isIpv6 }: Found): Buffer {
  const code = found === undefined ? 3 : found === "fail" ? 2 : 0;
  const addresses = found === undefined || found === "fail" ? [] : found;
  const isNegative = found !== "fail" && addresses.length === 0;
  const head = Buffer.alloc(12);
  query.copy(head, 0, 0, 2);
  head.writeUInt16BE(0x8180 | code, 2);
  head.writeUInt16BE(1, 4);
  head.writeUInt16BE(addresses.length, 6);
  head.writeUInt16BE(isNegative ? 1 : 0, 8);
  const answers = addresses.map((address) => buildRecord(isIpv6 ? AAAA : 1, readAddress(address, isIpv6)));
  // What says for how long a missing name may be taken as missing (RFC 2308 §3).
  if (isNegative) answers.push(buildRecord(SOA, Buffer.concat([Buffer.alloc(2), u32(1, 60, 60, 60, TTL_SECONDS)])));
  return Buffer.concat([head, query.subarray(12), ...answers]);
}

/** A record of the name that was asked for. */
function buildRecord(type: number, data: Buffer): Buffer {
  return Buffer.concat([Buffer.from([0xc0, 12, 0, type, 0, 1]), u32(TTL_SECONDS), Buffer.from([0, data.length]), data]);
}

function readAddress(address: string, isIpv6: boolean): Buffer {
  if (!isIpv6) return Buffer.from(address.split(".").map(Number));
  const groups = address.split(":").map((group) => group.padStart(4, "0"));
  return Buffer.from(groups.join(""), "hex");
}

function u32(...values: readonly number[]): Buffer {
  const bytes = Buffer.alloc(4 * values.length);
  for (const [index, value] of values.entries()) bytes.writeUInt32BE(value, 4 * index);
  return bytes;
}
