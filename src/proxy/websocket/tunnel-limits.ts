/**
 * Bytes waiting towards the sandbox at which the client is no longer read. Enough to keep a fast path busy, small
 * enough that thousands of stalled tunnels stay affordable.
 */
export const TUNNEL_HIGH_WATER_BYTES = 1024 * 1024;

/** Bytes waiting in one tunnel that are not worth counting: with 10,000 tunnels they are another 160 MiB. */
export const UNCOUNTED_MAX_BYTES = 16 * 1024;
