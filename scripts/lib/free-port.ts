import { readFileSync } from "node:fs";

const LOOPBACK = "127.0.0.1";
/** Lower ports belong to well-known services. */
const FIRST_PORT = 10_000;
/** The first port that Linux gives to outgoing connections by default. */
const FIRST_OUTGOING_PORT = 32_768;
/** A smaller range of ports is not worth a choice. */
const CHOICE_MIN = 1_000;
const ATTEMPTS_MAX = 50;

/**
 * Finds a port of 127.0.0.1 that nobody listens on now. It is below the ports that the kernel gives to outgoing
 * connections. One of those could otherwise take it before a server does, even a connection that tries to reach this
 * very server.
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
