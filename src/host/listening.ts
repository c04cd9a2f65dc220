import { formatUrlHost } from "../address.ts";
import type { Logger } from "../log/logger.ts";
import { codeOf, messageOf } from "../values.ts";

/** The system's codes on a kernel without IPv6 (`ipv6.disable=1`), or without an interface that has it. */
const NO_IPV6 = /EAFNOSUPPORT|EADDRNOTAVAIL/;
const ANY_IPV4 = "0.0.0.0";

/** Where to listen. */
export interface ListenPlace {
  readonly host: string;
  /** Whether nobody chose `host`: then it may be replaced by `0.0.0.0`. */
  readonly isDefault: boolean;
  readonly port: number;
  /** The flags that choose the address, for the error. */
  readonly flags: string;
}

/** Calls `open` with the host of a place. */
export type Listen = <T>(place: ListenPlace, open: (host: string) => T | Promise<T>) => Promise<T>;

/**
 * Creates a function that opens ports. Its error names the address and the flags that choose it. The default address,
 * `::`, becomes `0.0.0.0` if the kernel has no IPv6; one warning reports this.
 */
export function createListening(logger: Pick<Logger, "warn">): Listen {
  let hasWarned = false;
  return async (place, open) => {
    const attempt = async (host: string) => {
      try {
        return await open(host);
      } catch (error) {
        const address = `${formatUrlHost(host)}:${place.port}`;
        throw new Error(`Cannot listen on ${address} (${place.flags}): ${describe(error)}`, { cause: error });
      }
    };
    try {
      return await attempt(place.host);
    } catch (error) {
      if (!place.isDefault || !NO_IPV6.test(describe(error))) throw error;
      const opened = await attempt(ANY_IPV4);
      if (!hasWarned) {
        logger.warn(`the kernel has no IPv6: listening on ${ANY_IPV4}, all IPv4 addresses, instead of ::`);
      }
      hasWarned = true;
      return opened;
    }
  };
}

/** The message with the system's code, which some messages omit. */
function describe(error: unknown): string {
  const [message, code] = [messageOf(error), codeOf(error)];
  return message.includes(code) ? message : `${message} (${code})`;
}
