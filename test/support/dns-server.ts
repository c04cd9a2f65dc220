import { createSocket } from "node:dgram";

/** The records of a name. `fail` answers SERVFAIL, `silent` does not answer. Other names do not exist. */
export interface DnsRecords {
  readonly ipv4?: readonly string[] | "fail" | "silent";
  /** Eight groups in full, without `::`. */
  readonly ipv6?: readonly string[] | "fail" | "silent";
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
    if (found !== "silent") socket.send(buildAnswer(query, end + 4, { found, isIpv6 }), peer.port, peer.address);
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

function buildAnswer(query: Buffer, questionEnd: number, { found, isIpv6 }: Found): Buffer {
  const code = found === undefined ? 3 : found === "fail" ? 2 : 0;
  const records = found === undefined || found === "fail" ? [] : found;
  const head = Buffer.alloc(12);
  query.copy(head, 0, 0, 2);
  head.writeUInt16BE(0x8180 | code, 2);
  head.writeUInt16BE(1, 4);
  head.writeUInt16BE(records.length, 6);
  const answers = records.map((address) => {
    const data = isIpv6
      ? Buffer.from(
          address
            .split(":")
            .map((group) => group.padStart(4, "0"))
            .join(""),
          "hex",
        )
      : Buffer.from(address.split(".").map(Number));
    return Buffer.concat([Buffer.from([0xc0, 12, 0, isIpv6 ? AAAA : 1, 0, 1, 0, 0, 0, 0, 0, data.length]), data]);
  });
  return Buffer.concat([head, query.subarray(12, questionEnd), ...answers]);
}
