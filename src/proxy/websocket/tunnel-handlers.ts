import type { WebSocketHandler } from "bun";

import type { ClientSocket, Tunnel, TunnelData } from "./tunnel.ts";
import { TUNNEL_HIGH_WATER_BYTES } from "./tunnel-limits.ts";

/** The handlers for the client's side of all tunnels. If one throws, only its tunnel ends. */
export function tunnelHandlers(maxMessageBytes: number): WebSocketHandler<TunnelData> {
  const run = (client: ClientSocket, use: (tunnel: Tunnel) => void): void => {
    const { tunnel } = client.data;
    tunnel.safely(() => use(tunnel));
  };
  return {
    // Tunnels find silent clients themselves. A terminal may be quiet for days.
    idleTimeout: 0,
    sendPings: false,
    perMessageDeflate: false,
    maxPayloadLength: maxMessageBytes,
    // This limit matters only if the sandbox is not paused in time. One message behind a full buffer must still fit.
    backpressureLimit: maxMessageBytes + TUNNEL_HIGH_WATER_BYTES,
    closeOnBackpressureLimit: true,
    open: (client: ClientSocket) => run(client, (tunnel) => tunnel.openClient(client)),
    // `fromClient` catches what it throws itself. A closure for each frame would cost as much as passing it on.
    message: (client, data) => client.data.tunnel.fromClient(typeof data === "string" ? "text" : "binary", data),
    ping: (client, data) => client.data.tunnel.fromClient("ping", data),
    pong: (client, data) => client.data.tunnel.fromClient("pong", data),
    drain: (client) => run(client, (tunnel) => tunnel.clientDrained()),
    close: (client, code, reason) => run(client, (tunnel) => tunnel.closeFromClient(code, reason)),
  };
}
