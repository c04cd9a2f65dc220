import { connect } from "node:net";

/** Whether something at `hostPort` answers a TCP handshake within `timeoutMs`, be it with a refusal. */
export function canReach(hostPort: string, timeoutMs: number): Promise<boolean> {
  const split = hostPort.lastIndexOf(":");
  const host = hostPort.slice(0, split).replaceAll(/[[\]]/g, "");
  return new Promise((resolve) => {
    const socket = connect({ host, port: Number(hostPort.slice(split + 1)) });
    const finish = (reachable: boolean): void => {
      socket.destroy();
      resolve(reachable);
    };
    socket.setTimeout(timeoutMs, () => finish(false));
    socket.once("connect", () => finish(true));
    socket.once("error", (error: NodeJS.ErrnoException) => finish(error.code === "ECONNREFUSED"));
  });
}
