import type { BodyFlow } from "./body-flow.ts";

const MIB = 1024 * 1024;

/** What Bun and the allocator hold of an answer that its client does not read, in bytes: 2.1 to 2.4 MiB were measured. */
export const STALLED_DOWNLOAD_BYTES = 2.5 * MIB;

/** What they hold of a request's body that the sandbox does not read, in bytes: 3.3 to 5 MiB were measured. */
export const STALLED_UPLOAD_BYTES = 5 * MIB;

/** What tells how much memory of Bun's an exchange holds. */
export interface StallingBodies {
  readonly state: string;
  readonly upload: BodyFlow | undefined;
  readonly download: BodyFlow | undefined;
  readonly bytesOut: number;
  readonly subject: { readonly bodyLength: number | undefined };
}

/** Bytes that Bun holds because a receiver owes a read. An answer that was given to Bun whole is held whole, a stream is not. */
export function stalledBytesOf({ state, upload, download, bytesOut, subject }: StallingBodies): number {
  if (state === "held") return unreadBytesOf(subject.bodyLength);
  let bytes = upload?.turn === "sink" ? STALLED_UPLOAD_BYTES : 0;
  if (state === "leaving") bytes += download === undefined ? bytesOut : Math.min(bytesOut, STALLED_DOWNLOAD_BYTES);
  else if (download?.turn === "sink") bytes += STALLED_DOWNLOAD_BYTES;
  return bytes;
}

/** Bytes that Bun holds at most of a body of this length that nobody reads; undefined: the length is unknown. */
export function unreadBytesOf(bodyLength: number | undefined): number {
  return Math.min(bodyLength ?? STALLED_UPLOAD_BYTES, STALLED_UPLOAD_BYTES);
}
