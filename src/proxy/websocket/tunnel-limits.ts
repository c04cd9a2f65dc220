/**
 * When this many bytes wait for the sandbox, the client is no longer read. It is enough to keep a fast path busy, and
 * small enough for thousands of stalled tunnels.
 */
export const TUNNEL_HIGH_WATER_BYTES = 1024 * 1024;

/** Fewer waiting bytes than this in one tunnel are not counted. With 10,000 tunnels they sum up to at most 160 MiB. */
export const UNCOUNTED_MAX_BYTES = 16 * 1024;

/**
 * How long one side still gets what the other sent before it closed, in milliseconds. At the default rate, a full
 * receive buffer of the shortest frames needs 22 s.
 */
export const LEFTOVER_MAX_MS = 30_000;
