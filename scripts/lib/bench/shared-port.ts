// shared-port.ts FLAGS: the ingress from its source, with a traffic port that it shares with others (SO_REUSEPORT). It
// is a prototype, to measure several processes on a port. The product refuses a port that is taken.

/** The traffic port is the one with WebSockets. Nothing may share the admin port. */
function share(options: unknown): unknown {
  const isTraffic = typeof options === "object" && options !== null && "websocket" in options;
  return isTraffic ? { ...options, reusePort: true } : options;
}

Bun.serve = new Proxy(Bun.serve, {
  apply: (serve, self, given: readonly unknown[]): unknown => Reflect.apply(serve, self, given.map(share)),
});

await import("../../../src/main.ts");
