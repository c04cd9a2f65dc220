import { readFileSync } from "node:fs";

const LOOPBACK = "127.0.0.1";
/** Below it are ports of well-known services. */
const FIRST_PORT = 10_000;
/** Where Linux begins by default to hand out ports to outgoing connections. */
const FIRST_OUTGOING_PORT = 32_768;
/** Fewer ports than these are not worth a choice. */
const CHOICE_MIN = 1_000;
const ATTEMPTS_MAX = 50;

/**
 * A port of 127.0.0.1 that nobody listens on now. It is below those that the kernel gives to outgoing connections, any of
 * which could else take it before a server does, also one that tries to reach just this server while that is away.
 */
export function findFreePort(): number {
  const choice = readFirstOutgoingPort() - FIRST_PORT;
  const attempts = choice >= CHOICE_MIN ? ATTEMPTS_MAX : 0;
  for (let attempt = 0; attempt < attempts; attempt++) {
    const port = FIRST_PORT + Math.floor(Math.random() * choice);
    if (listenOnce(port) !== undefined) return port;
  }
  const port = listenOnce(0);
  if (port === undefined) throw new Error("Cannot find a free port");
  return port;
}

function listenOnce(port: number): number | undefined {
  try {
    const listener = Bun.listen({ hostname: LOOPBACK, port, socket: { data() {} } });
    const taken = listener.port;
    listener.stop(true);
    return taken;
  } catch {
    return undefined;
  }
}

function readFirstOutgoingPort(): number {
  try {
    return Number(/^\d+/.exec(readFileSync("/proc/sys/net/ipv4/ip_local_port_range", "utf8"))?.[0] ?? 0);
  } catch {
    return FIRST_OUTGOING_PORT; // Not Linux.
  }
}
