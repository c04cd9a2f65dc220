import { formatUrlHost } from "../../address.ts";
import type { Exchange } from "../exchange/exchange.ts";
import type { NameResolver } from "./name-resolver.ts";

/** Tells where a request is dialled: an address and a port, never a name. */
export interface EndpointLocator {
  /**
   * `address:port` for the endpoint of an exchange; at once where that is an address already.
   * The promise rejects as `NameResolver.resolve` does, or with what cut the exchange.
   */
  locate(exchange: Exchange): string | Promise<string>;
}

export function createEndpointLocator(names: NameResolver): EndpointLocator {
  return {
    locate(exchange) {
      const { hostPort } = exchange.subject;
      const split = hostPort.lastIndexOf(":");
      const host = hostPort.slice(0, split);
      if (host.startsWith("[") || !/[a-z]/i.test(host)) return hostPort;
      const port = hostPort.slice(split + 1);
      const resolved = names.resolve(host, exchange.signal);
      if (typeof resolved === "string") return `${formatUrlHost(resolved)}:${port}`;
      return resolved.then((address) => `${formatUrlHost(address)}:${port}`);
    },
  };
}
