/**
 * This process's open connections to an address (without brackets) and port, as numbers that do not change while a
 * connection lives. Undefined: the kernel does not tell. Never rejects.
 */
export type OpenConnections = (address: string, port: number) => Promise<ReadonlySet<number> | undefined>;

/** Splits `address:port`. An IPv6 address loses its brackets. */
export function splitDialled(dialled: string): { readonly address: string; readonly port: number } {
  const split = dialled.lastIndexOf(":");
  return { address: dialled.slice(0, split).replaceAll(/[[\]]/g, ""), port: Number(dialled.slice(split + 1)) };
}
