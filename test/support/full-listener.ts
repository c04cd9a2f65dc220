import { dlopen, FFIType, ptr } from "bun:ffi";
import { connect, type Socket } from "node:net";

import { eventually } from "./eventually.ts";

/** A port of loopback that answers no handshake any more: its backlog is full, so that Linux drops each SYN. */
export interface FullListener extends AsyncDisposable {
  readonly port: number;
}

const AF_INET = 2;
const SOCK_STREAM_CLOEXEC = 1 | 0o2000000;
/** Connections that fill a backlog of 0: Linux takes one more than it is told, and one is spare. */
const FILLERS = 3;
/** A handshake on loopback that is not done after so long, in milliseconds, was dropped. */
const DROPPED_MS = 300;

/** Listens without ever accepting, which no server of Bun or Node can, and fills the backlog. Linux only. */
export async function startFullListener(): Promise<FullListener> {
  const { symbols: libc } = dlopen("libc.so.6", {
    socket: { args: [FFIType.i32, FFIType.i32, FFIType.i32], returns: FFIType.i32 },
    bind: { args: [FFIType.i32, FFIType.ptr, FFIType.u32], returns: FFIType.i32 },
    listen: { args: [FFIType.i32, FFIType.i32], returns: FFIType.i32 },
    getsockname: { args: [FFIType.i32, FFIType.ptr, FFIType.ptr], returns: FFIType.i32 },
    close: { args: [FFIType.i32], returns: FFIType.i32 },
  });
  // struct sockaddr_in: family in host order, port and address in network order.
  const address = new DataView(new ArrayBuffer(16));
  address.setUint16(0, AF_INET, true);
  address.setUint32(4, 0x7f000001);
  const size = new Uint32Array([16]);
  const fd = libc.socket(AF_INET, SOCK_STREAM_CLOEXEC, 0);
  const failed =
    fd < 0 ||
    libc.bind(fd, ptr(address.buffer), 16) !== 0 ||
    libc.listen(fd, 0) !== 0 ||
    libc.getsockname(fd, ptr(address.buffer), ptr(size)) !== 0;
  if (failed) throw new Error("Cannot listen without accepting");
  const port = address.getUint16(2);

  const fillers: Socket[] = [];
  for (let i = 0; i < FILLERS; i++) fillers.push(connect({ port, host: "127.0.0.1" }).on("error", () => {}));
  await eventually(() => fillers.some((socket) => !socket.connecting));
  await eventually(async () => !(await isConnecting(port)));
  return {
    port,
    [Symbol.asyncDispose]() {
      for (const socket of fillers) socket.destroy();
      libc.close(fd);
      return Promise.resolve();
    },
  };
}

/** Whether one more connection gets through. */
function isConnecting(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: "127.0.0.1" });
    const finish = (connected: boolean): void => {
      socket.destroy();
      resolve(connected);
    };
    socket.setTimeout(DROPPED_MS, () => finish(false));
    socket.once("connect", () => finish(true));
    socket.once("error", () => finish(false));
  });
}
