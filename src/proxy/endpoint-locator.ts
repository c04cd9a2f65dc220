import { lookup } from "node:dns/promises";

import { formatUrlHost } from "../address.ts";
import { type Clock, sleep } from "../clock.ts";
import { IngressError } from "../errors.ts";
import type { Exchange } from "./exchange.ts";

/** Pause between two attempts to resolve a name that is not known yet, in milliseconds. */
const RESOLVE_RETRY_MS = 250;

/** Tells where a request is dialled: an address and a port, never a name. */
export interface EndpointLocator {
  /**
   * `address:port` for the endpoint of an exchange; at once where that is an address already.
   * Throws `upstream_unresolved` when the name does not resolve within `--connect-timeout`, or what cut the exchange.
   */
  locate(exchange: Exchange): string | Promise<string>;
}

export function createEndpointLocator(options: {
  readonly clock: Clock;
  readonly connectTimeoutMs: number;
}): EndpointLocator {
  const { clock, connectTimeoutMs } = options;
  const resolve = async (exchange: Exchange, host: string, port: string): Promise<string> => {
    const deadline = clock.monotonic() + connectTimeoutMs;
    for (;;) {
      try {
        const { address } = await lookup(host);
        exchange.checkOpen();
        return `${formatUrlHost(address)}:${port}`;
      } catch (thrown) {
        exchange.checkOpen();
        if (clock.monotonic() >= deadline) {
          throw new IngressError("upstream_unresolved", undefined, { cause: thrown });
        }
        await sleep(clock, RESOLVE_RETRY_MS, exchange.signal);
        exchange.checkOpen();
      }
    }
  };
  return {
    locate(exchange) {
      const { hostPort } = exchange.subject;
      const split = hostPort.lastIndexOf(":");
      const host = hostPort.slice(0, split);
      if (host.startsWith("[") || !/[a-z]/i.test(host)) return hostPort;
      return resolve(exchange, host, hostPort.slice(split + 1));
    },
  };
}
