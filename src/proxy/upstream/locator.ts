import { formatUrlHost } from "../../address.ts";
import type { Exchange } from "../exchange/exchange.ts";
import type { NameResolver } from "./name-resolver.ts";

/** Finds out where to dial: an address and a port, never a name. */
export interface EndpointLocator {
  /**
   * Returns `address:port` for the endpoint of an exchange, at once if the endpoint is an address already. The promise
   * rejects as `NameResolver.resolve` does, or with the reason of a cut.
   */
  locate(exchange: Exchange): string | Promise<string>;
  /** The same for `host:port` of a record, without an exchange. */
  locateHostPort(hostPort: string, signal?: AbortSignal): string | Promise<string>;
}

export function createEndpointLocator(names: NameResolver): EndpointLocator {
  const locateHostPort = (hostPort: string, signal?: AbortSignal): string | Promise<string> => {
    if (isAddress(hostPort)) return hostPort;
    const split = hostPort.lastIndexOf(":");
    const host = hostPort.slice(0, split);
    const port = hostPort.slice(split + 1);
    const resolved = names.resolve(host, signal);
    if (typeof resolved === "string") return `${formatUrlHost(resolved)}:${port}`;
    return resolved.then((address) => `${formatUrlHost(address)}:${port}`);
  };
  return {
    locate(exchange) {
      const { hostPort } = exchange.subject;
      return isAddress(hostPort) ? hostPort : locateHostPort(hostPort, exchange.signal);
    },
    locateHostPort,
  };
}

/** Whether the host before the port is an address: in brackets (IPv6) or without letters. */
function isAddress(hostPort: string): boolean {
  return hostPort.startsWith("[") || !/[a-z]/i.test(hostPort);
}
