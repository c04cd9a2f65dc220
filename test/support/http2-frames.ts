/** Frames of HTTP/2 by hand (RFC 9113 §6), for what no client library sends. */

/** RFC 9113 §6: the types of frames. */
export const FRAME = {
  headers: 1,
  priority: 2,
  reset: 3,
  settings: 4,
  ping: 6,
  windowUpdate: 8,
  continuation: 9,
} as const;
export const END_STREAM = 1;
export const END_HEADERS = 4;

const FRAME_HEAD_BYTES = 9;
/** RFC 9113 §3.4, and empty SETTINGS. */
export const PREFACE = Buffer.concat([Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), frame(FRAME.settings)]);

export function frame(
  type: number,
  { flags = 0, stream = 0, payload = Buffer.alloc(0) }: { flags?: number; stream?: number; payload?: Buffer } = {},
): Buffer {
  const head = Buffer.alloc(FRAME_HEAD_BYTES);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

/** A literal of HPACK without Huffman coding (RFC 7541 §5.2); at most 126 bytes. */
function literal(text: string): Buffer {
  return Buffer.concat([Buffer.from([text.length]), Buffer.from(text)]);
}

/** The head of `GET <path>` with a route (RFC 7541 §6.2.2, §6.1 for the two indexed fields). */
export function requestHead(path: string, route: string): Buffer {
  const [getHttp, pathIndex, authorityIndex, newName] = [[0x82, 0x86], 0x04, 0x01, 0x00];
  return Buffer.concat([
    Buffer.from([...getHttp, pathIndex]),
    literal(path),
    Buffer.from([authorityIndex]),
    literal("h.test"),
    Buffer.from([newName]),
    literal("opensandbox-ingress-to"),
    literal(route),
  ]);
}

/** One more field with a new name. */
export function field(name: string, value: string): Buffer {
  return Buffer.concat([Buffer.from([0x00]), literal(name), literal(value)]);
}

/** One that is kept in the table of the connection (RFC 7541 §6.2.1), and then named by one byte, many times. */
export function repeatedField(name: string, value: string, times: number): Buffer {
  return Buffer.concat([Buffer.from([0x40]), literal(name), literal(value), Buffer.alloc(times, 0xbe)]);
}
