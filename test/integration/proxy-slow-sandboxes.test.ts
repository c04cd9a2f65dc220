import { describe, expect, test } from "bun:test";

import { eventually } from "../../scripts/lib/eventually.ts";
import { startProxy } from "../../scripts/lib/stage/proxy-harness.ts";
import { openRaw, rawRequest } from "../../scripts/lib/stage/raw-client.ts";
import { startPython } from "../support/full-queue.ts";
import { requirePart } from "../support/requires.ts";

const hasPython = requirePart("python3", { get: "apt-get install python3" });

const requestOf = (port: number, options: { readonly method: string; readonly path: string; readonly body: string }) =>
  `${options.method} ${options.path} HTTP/1.1\r\nHost: x\r\nOpenSandbox-Ingress-To: sb-${port}\r\n` +
  `Content-Length: ${options.body.length}\r\n\r\n${options.body}`;

/** Handles one request at a time, like Python's plain server. `/slow` takes four seconds. */
const SINGLE_THREADED = `
import http.server, time
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/slow":
            print("working", flush=True)
            time.sleep(4)
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")
    def log_message(self, *_): pass
server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
`;

const ONE_SHOT = `
import http.server, time
connections = 0
class Server(http.server.HTTPServer):
    def get_request(self):
        global connections
        connections += 1
        return super().get_request()
class Handler(http.server.BaseHTTPRequestHandler):
    def do_PUT(self):
        size = len(self.rfile.read(int(self.headers["Content-Length"])))
        time.sleep(2)
        self.send_response(200)
        self.send_header("Content-Length", str(len(str(size))))
        self.end_headers()
        self.wfile.write(str(size).encode())
    def log_message(self, *_): pass
server = Server(("127.0.0.1", 0), Handler)
print(server.server_address[1], flush=True)
server.handle_request()
# Who else has knocked meanwhile stands in the queue.
server.socket.setblocking(False)
try:
    while True:
        server.socket.accept()
        connections += 1
except BlockingIOError: pass
print(connections, flush=True)
`;

describe.skipIf(!hasPython)("a sandbox that takes one request at a time", () => {
  test("Watchdog cuts none of seven requests, although a job takes longer than --connect-timeout", async () => {
    await using proxy = startProxy({ connectTimeoutMs: 800 });
    proxy.provider.set({ name: "sb" });
    await using script = startPython(SINGLE_THREADED);
    const port = Number(await script.says());
    const job = rawRequest(proxy.port, requestOf(port, { method: "POST", path: "/slow", body: "job" }));
    expect(await script.says()).toBe("working");
    const others = Array.from({ length: 6 }, (_, n) =>
      rawRequest(proxy.port, requestOf(port, { method: "POST", path: `/${n}`, body: "hi" })),
    );
    const answers = await Promise.all([job, ...others]);
    expect(answers.map(({ status }) => status)).toEqual(Array<number>(7).fill(200));
  }, 40_000);

  test("a server for one request gets its upload of 1.1 MB over exactly one connection", async () => {
    await using proxy = startProxy({ connectTimeoutMs: 500 });
    proxy.provider.set({ name: "sb" });
    await using script = startPython(ONE_SHOT);
    const port = Number(await script.says());
    const body = "x".repeat(1_100_000);
    const answer = await rawRequest(proxy.port, requestOf(port, { method: "PUT", path: "/", body }));
    expect([answer.status, answer.body]).toEqual([200, "1100000"]);
    expect(await script.says()).toBe("1");
  }, 40_000);
});

/** Its queue is full from the beginning. What it takes out of the queue later shows whether a byte came. */
const NEVER_ANSWERS = `
import socket, sys, time
s = socket.socket(); s.bind(("127.0.0.1", 0)); s.listen(0)
port = s.getsockname()[1]
held = []
for _ in range(8):
    h = socket.socket(); h.setblocking(False)
    try: h.connect(("127.0.0.1", port))
    except BlockingIOError: pass
    held.append(h)
print(port, flush=True)
time.sleep(3)
for h in held: h.close()
s.settimeout(1.5)
got = b""
try:
    while True:
        c, _ = s.accept()
        c.settimeout(0.2)
        try: got += c.recv(65536)
        except OSError: pass
except OSError: pass
print(len(got), flush=True)
`;

describe.skipIf(!hasPython)("an address that never answers", () => {
  test.each(["GET", "POST", "PUT"])(
    "is 502, and not a byte is ever sent to it (%s)",
    async (method) => {
      await using proxy = startProxy({ connectTimeoutMs: 400 });
      proxy.provider.set({ name: "sb" });
      await using script = startPython(NEVER_ANSWERS);
      const port = Number(await script.says());
      const client = await openRaw(proxy.port);
      client.write(requestOf(port, { method, path: "/", body: method === "GET" ? "" : "x".repeat(1_000) }));
      expect((await client.readAnswer()).status).toBe(502);
      expect(proxy.accessLog.at(-1)).toMatchObject({ code: "upstream_unreachable" });
      expect(await script.says()).toBe("0");
      client.destroy();
      await eventually(() => proxy.server.inFlight() === 0);
    },
    40_000,
  );
});
