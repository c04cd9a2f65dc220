/** The largest answer over UDP for a client that does not announce another size, in bytes (RFC 1035 §2.3.4). */
export const DNS_ANSWER_MAX_BYTES = 512;

/** Record types of RFC 1035 §3.2.2 and RFC 3596 §2.1, by the family of addresses. */
const TYPES = { 4: 1, 6: 28 } as const;
const ADDRESS_BYTES = { 4: 4, 6: 16 } as const;
const CLASS_IN = 1;
const HEAD_BYTES = 12;
/** RFC 1035 §2.3.4. */
const LABEL_MAX_BYTES = 63;
const NAME_MAX_BYTES = 255;
/** Bits of the second word of the head (RFC 1035 §4.1.1). */
const RECURSION_DESIRED = 0x0100;
const IS_ANSWER = 0x8000;
const IS_TRUNCATED = 0x0200;
const CODE_MASK = 0x000f;
const NO_SUCH_NAME = 3;
/** The upper two bits of a length byte mark a pointer (RFC 1035 §4.1.4). */
const POINTER_MASK = 0xc0;

/** The question for all addresses of one family of a name. */
export interface DnsQuestion {
  /** Without the final dot. */
  readonly name: string;
  readonly family: 4 | 6;
  /** 16 random bits. A forger of an answer must guess them. */
  readonly id: number;
}

/** Builds the datagram of a query (RFC 1035 §4.1). Throws if the name is not valid in the DNS. */
export function buildDnsQuery({ name, family, id }: DnsQuestion): Buffer {
  const labels = name.split(".").map((label) => {
    const bytes = Buffer.from(label, "latin1");
    if (bytes.length === 0 || bytes.length > LABEL_MAX_BYTES) throw new Error("the name has an invalid label");
    return Buffer.concat([Buffer.from([bytes.length]), bytes]);
  });
  const fullName = Buffer.concat([...labels, Buffer.from([0])]);
  if (fullName.length > NAME_MAX_BYTES) throw new Error(`the name is longer than ${NAME_MAX_BYTES} bytes`);
  const head = Buffer.alloc(HEAD_BYTES);
  head.writeUInt16BE(id, 0);
  head.writeUInt16BE(RECURSION_DESIRED, 2);
  head.writeUInt16BE(1, 4);
  return Buffer.concat([head, fullName, Buffer.from([0, TYPES[family], 0, CLASS_IN])]);
}

/** Whether a datagram answers exactly this query: it has the same id and the same question. */
export function isDnsAnswerTo(query: Buffer, datagram: Buffer): boolean {
  return (
    datagram.length >= query.length &&
    datagram.readUInt16BE(0) === query.readUInt16BE(0) &&
    (datagram.readUInt16BE(2) & IS_ANSWER) !== 0 &&
    datagram.readUInt16BE(4) === 1 &&
    datagram.compare(query, HEAD_BYTES, query.length, HEAD_BYTES, query.length) === 0
  );
}

/**
 * Reads the addresses in an answer to `query`, including those behind CNAME records. Empty if the name does not exist
 * or has no address of the family. Throws if the answer is an error, invalid, or larger than `DNS_ANSWER_MAX_BYTES`. So
 * a name with thousands of addresses costs no more than these bytes.
 */
export function readDnsAnswer(query: Buffer, datagram: Buffer, family: 4 | 6): string[] {
  const flags = datagram.readUInt16BE(2);
  const code = flags & CODE_MASK;
  if (code === NO_SUCH_NAME) return [];
  if (code !== 0) throw new Error(`the DNS server answered with code ${code}`);
  if ((flags & IS_TRUNCATED) !== 0 || datagram.length > DNS_ANSWER_MAX_BYTES) {
    throw new Error(`the DNS server's answer is larger than ${DNS_ANSWER_MAX_BYTES} bytes`);
  }
  const addresses: string[] = [];
  let at = query.length;
  for (let left = datagram.readUInt16BE(6); left > 0; left--) {
    at = skipName(datagram, at);
    if (at + 10 > datagram.length) throw invalid();
    const isWanted = datagram.readUInt16BE(at) === TYPES[family] && datagram.readUInt16BE(at + 2) === CLASS_IN;
    const length = datagram.readUInt16BE(at + 8);
    at += 10;
    if (at + length > datagram.length) throw invalid();
    if (isWanted && length !== ADDRESS_BYTES[family]) throw invalid();
    if (isWanted) addresses.push(formatAddress(datagram.subarray(at, at + length)));
    at += length;
  }
  return addresses;
}

/** Returns where the name that begins at `at` ends. Names are skipped, not read, so pointers are not followed. */
function skipName(datagram: Buffer, at: number): number {
  for (let position = at; ;) {
    const length = datagram[position];
    if (length === undefined) throw invalid();
    if ((length & POINTER_MASK) === POINTER_MASK) return position + 2;
    if (length > LABEL_MAX_BYTES) throw invalid();
    position += length + 1;
    if (length === 0) return position;
  }
}

function formatAddress(bytes: Buffer): string {
  if (bytes.length === 4) return bytes.join(".");
  return Array.from({ length: 8 }, (_, group) => bytes.readUInt16BE(group * 2).toString(16)).join(":");
}

function invalid(): Error {
  return new Error("the DNS server's answer is invalid");
}
