import type { BodyFlow } from "./body-flow.ts";

const MIB = 1024 * 1024;

/**
 * Memory that Bun and the allocator hold for an answer that its client does not read, in bytes. Measured: 2.1 to 2.4
 * MiB.
 */
export const STALLED_DOWNLOAD_BYTES = 2.5 * MIB;

/** The same for a request's body that the sandbox does not read, in bytes. Measured: 3.3 to 5 MiB. */
export const STALLED_UPLOAD_BYTES = 5 * MIB;

/** The fields of an exchange that tell how much of Bun's memory it holds. */
export interface StallingBodies {
  readonly state: string;
  readonly upload: BodyFlow | undefined;
  readonly download: BodyFlow | undefined;
  readonly bytesIn: number;
  readonly bytesOut: number;
  readonly subject: { readonly bodyLength: number | undefined };
}

/**
 * Bytes that Bun holds because a receiver does not read. Bun holds an answer that it got at once completely, but only a
 * part of a stream.
 */
export function stalledBytesOf({ state, upload, download, bytesIn, bytesOut, subject }: StallingBodies): number {
  // A body that was read for an earlier attempt is kept, and counted as such.
  if (state === "held") return bytesIn === subject.bodyLength ? 0 : unreadBytesOf(subject.bodyLength);
  let bytes = upload?.turn === "sink" ? STALLED_UPLOAD_BYTES : 0;
  if (state === "leaving") bytes += download === undefined ? bytesOut : Math.min(bytesOut, STALLED_DOWNLOAD_BYTES);
  else if (download?.turn === "sink") bytes += STALLED_DOWNLOAD_BYTES;
  return bytes;
}

/** The most bytes that Bun holds of an unread body of this length; undefined: the length is unknown. */
export function unreadBytesOf(bodyLength: number | undefined): number {
  return Math.min(bodyLength ?? STALLED_UPLOAD_BYTES, STALLED_UPLOAD_BYTES);
}
