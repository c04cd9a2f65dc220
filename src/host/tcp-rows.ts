/** A connection in the kernel's table. */
export interface TcpRow {
  /** `established`: both sides may send. `ending`: it stood, and a side has ended it. */
  readonly kind: "established" | "ending" | "connecting";
  /**
   * The socket's inode (proc_pid_net(5)). 0: no process has the socket; the kernel is ending it, or nobody has accepted
   * it.
   */
  readonly inode: number;
}

/** The content of the socket tables. */
export interface TcpIndex {
  /** The connections to the requested remotes, by address and port in the form of `toTcpKey`. */
  readonly remotes: ReadonlyMap<string, readonly TcpRow[]>;
  /** Whether no table and no row is missing. */
  readonly isWhole: boolean;
  /** Whether there is any connection that stands or stood. */
  readonly hasConnections: boolean;
  /** Whether any row, in any state, has one of these inodes. Searches the tables again until it finds one. */
  hasInodeOf(inodes: ReadonlySet<number>): boolean;
}

/** States of a socket as the kernel prints them (include/net/tcp_states.h). */
const ESTABLISHED = 0x01;
const SYN_SENT = 0x02;
/** One side has closed. A process has the socket, or only the kernel, which keeps it for minutes if nobody answers. */
const HALF_CLOSED: ReadonlySet<number> = new Set([0x04, 0x05, 0x09, 0x0b]);
/** The other side has closed, this side has not: its answer may still be unread. */
const CLOSE_WAIT = 0x08;

/** Digits of an address and a port: `0100007F:1F90`, `00000000000000000000000001000000:1F90`. */
const IPV4_DIGITS = 8;
const IPV6_DIGITS = 32;
const PORT_DIGITS = 4;
/** Prefix of an IPv4-mapped address (RFC 4291 §2.5.5.2), before the IPv4 address. */
const MAPPED_PREFIX = "0000000000000000FFFF0000";

const LINE_FEED = 10;
const SPACE = 32;
const COLON = 58;
const DIGIT_ZERO = 48;

/** Fields from the state to the inode: queues, timer, retransmits, uid, timeout. */
const INODE_FIELD = 6;

/**
 * Indexes the tables of IPv4 and IPv6, in this order. Undefined means an unreadable table, an empty table a system
 * without that family. Rows in another format than the kernel's are ignored.
 *
 * @param options.maxBytes A table of this length has been cut.
 * @param options.asked The remotes whose connections are kept, in the form of `toTcpKey`.
 */
export function indexTcpTable(
  tables: readonly (Uint8Array | undefined)[],
  options: { readonly maxBytes: number; readonly asked: ReadonlySet<string> },
): TcpIndex {
  const { maxBytes, asked } = options;
  const remotes = new Map<string, TcpRow[]>();
  let hasConnections = false;
  findRow(tables, (rows, at) => {
    const kind = kindOf(rows, at);
    if (kind === undefined) return false;
    hasConnections ||= kind !== "connecting";
    const key = keyOf(rows.toString("latin1", at.remote, at.state - 1));
    if (!asked.has(key)) return false;
    const row: TcpRow = { kind, inode: inodeOf(rows, at) };
    const others = remotes.get(key);
    if (others === undefined) remotes.set(key, [row]);
    else others.push(row);
    return false;
  });
  return {
    remotes,
    isWhole: tables.every((table) => table !== undefined && table.length < maxBytes),
    hasConnections,
    hasInodeOf: (inodes) => findRow(tables, (rows, at) => inodes.has(inodeOf(rows, at))),
  };
}

/** The key of a port and a canonical address (from `parseAddress`; a mapped address is an IPv4 address). */
export function toTcpKey(address: string, port: number): string {
  const bytes = address.includes(":") ? toIpv6Bytes(address) : address.split(".").map(Number);
  let key = "";
  // 32-bit words, each printed as a number of a little-endian machine.
  for (let word = 0; word < bytes.length; word += 4) {
    for (let byte = 3; byte >= 0; byte--) key += toHex(bytes[word + byte] ?? 0, 2);
  }
  return `${key}:${toHex(port, PORT_DIGITS)}`;
}

/** Expects an RFC 5952 text without dots. */
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

/** Where a row's remote address and its state begin, and where the row ends. */
interface RowOffsets {
  readonly remote: number;
  readonly state: number;
  readonly end: number;
}

/** Whether `isIt` is true for a row of the tables. Stops at the first one. */
function findRow(
  tables: readonly (Uint8Array | undefined)[],
  isIt: (rows: Buffer, at: RowOffsets) => boolean,
): boolean {
  return tables.some((table, at) => {
    return table !== undefined && findRowIn(toBuffer(table), at === 0 ? IPV4_DIGITS : IPV6_DIGITS, isIt);
  });
}

/**
 * Rows are `<number>: <local> <remote> <state> <queues> <timer> <retransmits> <uid> <timeout> <inode> …`. The addresses
 * and the state have fixed offsets from the first colon.
 */
function findRowIn(rows: Buffer, addressDigits: number, isIt: (rows: Buffer, at: RowOffsets) => boolean): boolean {
  const endpoint = addressDigits + 1 + PORT_DIGITS;
  let start = rows.indexOf(LINE_FEED) + 1;
  while (start > 0 && start < rows.length) {
    const end = rows.indexOf(LINE_FEED, start);
    // The last row may be cut. Without its line feed it does not count.
    if (end < 0) return false;
    const remote = rows.indexOf(COLON, start) + 2 + endpoint + 1;
    const state = remote + endpoint + 1;
    const isRow =
      state + 2 < end && rows[remote - 1] === SPACE && rows[state - 1] === SPACE && rows[state + 2] === SPACE;
    if (isRow && isIt(rows, { remote, state, end })) return true;
    start = end + 1;
  }
  return false;
}

function keyOf(remote: string): string {
  return remote.startsWith(MAPPED_PREFIX) ? remote.slice(MAPPED_PREFIX.length) : remote;
}

function kindOf(rows: Buffer, at: RowOffsets): TcpRow["kind"] | undefined {
  const value = (digitOf(rows[at.state]) << 4) | digitOf(rows[at.state + 1]);
  if (value === ESTABLISHED) return "established";
  if (value === SYN_SENT) return "connecting";
  if (value === CLOSE_WAIT) return "ending";
  return HALF_CLOSED.has(value) && inodeOf(rows, at) !== 0 ? "ending" : undefined;
}

/** 0 if the row has no inode. */
function inodeOf(rows: Buffer, at: RowOffsets): number {
  let offset = at.state;
  for (let field = 0; field < INODE_FIELD; field++) {
    while (offset < at.end && rows[offset] !== SPACE) offset++;
    while (offset < at.end && rows[offset] === SPACE) offset++;
  }
  let inode = 0;
  for (; offset < at.end; offset++) {
    const digit = (rows[offset] ?? 0) - DIGIT_ZERO;
    if (digit < 0 || digit > 9) break;
    inode = inode * 10 + digit;
  }
  return inode;
}

/** The value of an upper-case hexadecimal digit. Other characters give a state that does not exist. */
function digitOf(code: number | undefined): number {
  if (code === undefined) return 0xff;
  if (code >= 48 && code <= 57) return code - 48;
  return code >= 65 && code <= 70 ? code - 55 : 0xff;
}
