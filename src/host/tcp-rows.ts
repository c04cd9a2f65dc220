/** What a table of sockets says, by remote address and port as `toTcpKey` spells them. */
export interface TcpIndex {
  readonly remotes: ReadonlyMap<string, "established" | "connecting">;
  /** Whether nothing is missing: no table, no row. */
  readonly isWhole: boolean;
  /** Whether there is any established connection in it. */
  readonly hasConnections: boolean;
}

/** States of a socket as the kernel prints them (include/net/tcp_states.h). */
const ESTABLISHED = 0x01;
const SYN_SENT = 0x02;
/** One side has ended. Held by a process, or by the kernel alone, which goes on for minutes where nobody answers. */
const HALF_CLOSED: ReadonlySet<number> = new Set([0x04, 0x05, 0x09, 0x0b]);
/** The other side has ended, ours has not: its answer may still wait to be read. */
const CLOSE_WAIT = 0x08;

/** Digits of an address and a port: `0100007F:1F90`, `00000000000000000000000001000000:1F90`. */
const IPV4_DIGITS = 8;
const IPV6_DIGITS = 32;
const PORT_DIGITS = 4;
/** An IPv4-mapped address (RFC 4291 §2.5.5.2): this, and the IPv4 address. */
const MAPPED_PREFIX = "0000000000000000FFFF0000";

const LINE_FEED = 10;
const SPACE = 32;
const COLON = 58;

/**
 * Indexes the tables of IPv4 and of IPv6, in this order; undefined: it cannot be read. An empty one is a system without
 * that family. Rows that are not as the kernel writes them count for nothing.
 * @param maxBytes A table of so many bytes has been cut.
 */
export function indexTcpTable(tables: readonly (Uint8Array | undefined)[], maxBytes: number): TcpIndex {
  const remotes = new Map<string, "established" | "connecting">();
  for (const [at, table] of tables.entries()) {
    if (table !== undefined) indexRows(toBuffer(table), at === 0 ? IPV4_DIGITS : IPV6_DIGITS, remotes);
  }
  const isWhole = tables.every((table) => table !== undefined && table.length < maxBytes);
  return { remotes, isWhole, hasConnections: new Set(remotes.values()).has("established") };
}

/** The key of a canonical address (as `parseAddress` gives it: a mapped one is the IPv4 address) and a port. */
export function toTcpKey(address: string, port: number): string {
  const bytes = address.includes(":") ? toIpv6Bytes(address) : address.split(".").map(Number);
  let key = "";
  // Words of 32 bits, each printed as a number of a little-endian machine.
  for (let word = 0; word < bytes.length; word += 4) {
    for (let byte = 3; byte >= 0; byte--) key += toHex(bytes[word + byte] ?? 0, 2);
  }
  return `${key}:${toHex(port, PORT_DIGITS)}`;
}

/** Of an RFC 5952 text without dots. */
function toIpv6Bytes(address: string): number[] {
  const [head = "", tail] = address.split("::");
  const left = head === "" ? [] : head.split(":");
  const right = tail === undefined || tail === "" ? [] : tail.split(":");
  const zeros = Array.from({ length: 8 - left.length - right.length }, () => "0");
  return [...left, ...zeros, ...right].flatMap((group) => {
    const value = Number.parseInt(group, 16);
    return [value >> 8, value & 255];
  });
}

function toHex(value: number, digits: number): string {
  return value.toString(16).toUpperCase().padStart(digits, "0");
}

function toBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/**
 * Rows are `<number>: <local> <remote> <state> <queues> <timer> <retransmits> <uid> <timeout> <inode> …`. The offsets from
 * the first colon are fixed, so that only the remote address becomes a string.
 */
function indexRows(rows: Buffer, addressDigits: number, remotes: Map<string, "established" | "connecting">): void {
  const endpoint = addressDigits + 1 + PORT_DIGITS;
  let start = rows.indexOf(LINE_FEED) + 1;
  while (start > 0 && start < rows.length) {
    const found = rows.indexOf(LINE_FEED, start);
    const end = found < 0 ? rows.length : found;
    const remote = rows.indexOf(COLON, start) + 2 + endpoint + 1;
    const state = remote + endpoint + 1;
    // The last row may have been cut in its midst; without its line feed it does not count.
    const isRow =
      found >= 0 &&
      state + 2 < end &&
      rows[remote - 1] === SPACE &&
      rows[state - 1] === SPACE &&
      rows[state + 2] === SPACE;
    const kind = isRow ? kindOf(rows, state, end) : undefined;
    if (kind !== undefined) {
      const key = keyOf(rows.toString("latin1", remote, remote + endpoint));
      if (kind === "established" || !remotes.has(key)) remotes.set(key, kind);
    }
    start = end + 1;
  }
}

function keyOf(remote: string): string {
  return remote.startsWith(MAPPED_PREFIX) ? remote.slice(MAPPED_PREFIX.length) : remote;
}

function kindOf(rows: Buffer, state: number, end: number): "established" | "connecting" | undefined {
  const value = (digitOf(rows[state]) << 4) | digitOf(rows[state + 1]);
  if (value === ESTABLISHED || value === CLOSE_WAIT) return "established";
  if (value === SYN_SENT) return "connecting";
  return HALF_CLOSED.has(value) && isHeld(rows.toString("latin1", state, end)) ? "established" : undefined;
}

/** Whether a process has the socket: one that the kernel ends by itself has the inode 0. */
function isHeld(fromState: string): boolean {
  const inode = fromState.trim().split(/ +/)[6];
  return inode !== undefined && inode !== "0";
}

/** The value of an upper-case hexadecimal digit; what is none gives a state that does not exist. */
function digitOf(code: number | undefined): number {
  if (code === undefined) return 0xff;
  if (code >= 48 && code <= 57) return code - 48;
  return code >= 65 && code <= 70 ? code - 55 : 0xff;
}
