import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { startServerProcess } from "../server-process.ts";

/** A server that people run in sandboxes, with the time after which it closes an idle connection. */
export interface UpstreamServerKind {
  readonly name: string;
  readonly idleMs: number;
  /** How a person gets it. */
  readonly get: string;
  /** The command; undefined if it is not installed. `log`: one line for each POST, its body. */
  readonly command: (options: {
    readonly dir: string;
    readonly port: number;
    readonly log: string;
  }) => string[] | undefined;
}

const NODE = `
const fs = require("fs");
require("http").createServer((req, res) => {
  let body = "";
  req.on("data", (chunk) => (body += chunk));
  req.on("end", () => { fs.appendFileSync(process.argv[3], body + "\\n"); res.end("ok"); });
}).listen(Number(process.argv[2]), "127.0.0.1");
`;

const GO = `
package main

import (
	"io"
	"net/http"
	"os"
	"time"
)

func main() {
	log, _ := os.OpenFile(os.Args[2], os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		log.WriteString(string(body) + "\\n")
		w.Write([]byte("ok"))
	})
	server := &http.Server{Addr: "127.0.0.1:" + os.Args[1], Handler: handler, IdleTimeout: 2 * time.Second}
	server.ListenAndServe()
}
`;

const PYTHON = `
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 2
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        with open(sys.argv[2], "a") as log: log.write(body + "\\n")
        self.send_response(200); self.send_header("Content-Type", "text/plain"); self.send_header("Content-Length", "2"); self.end_headers()
        self.wfile.write(b"ok")
    def log_message(self, *args): pass
ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
`;

const ASGI = `
import os
async def app(scope, receive, send):
    if scope["type"] != "http": return
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"): break
    with open(os.environ["LOG"], "a") as log: log.write(body.decode() + "\\n")
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})
def wsgi(environ, start_response):
    body = environ["wsgi.input"].read()
    with open(os.environ["LOG"], "a") as log: log.write(body.decode() + "\\n")
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]
`;

/** Writes a file into the folder and returns its path. */
function put(dir: string, name: string, text: string): string {
  const path = join(dir, name);
  writeFileSync(path, text);
  return path;
}

export const UPSTREAM_SERVERS: readonly UpstreamServerKind[] = [
  {
    name: "Node http",
    idleMs: 5_000,
    get: "apt-get install nodejs",
    command: ({ dir, port, log }) =>
      Bun.which("node") === null ? undefined : ["node", put(dir, "server.cjs", NODE), String(port), log],
  },
  {
    name: "Go net/http",
    idleMs: 2_000,
    get: "a Go toolchain",
    command: ({ dir, port, log }) =>
      Bun.which("go") === null ? undefined : ["go", "run", put(dir, "server.go", GO), String(port), log],
  },
  {
    name: "Python http.server",
    idleMs: 2_000,
    get: "apt-get install python3",
    command: ({ dir, port, log }) =>
      Bun.which("python3") === null ? undefined : ["python3", put(dir, "server.py", PYTHON), String(port), log],
  },
  {
    name: "uvicorn",
    idleMs: 5_000,
    get: "pip install uvicorn",
    command: ({ dir, port }) =>
      Bun.which("uvicorn") === null
        ? undefined
        : (put(dir, "served.py", ASGI),
          ["uvicorn", "--app-dir", dir, "--port", String(port), "--log-level", "error", "served:app"]),
  },
  {
    name: "gunicorn",
    idleMs: 2_000,
    get: "pip install gunicorn",
    command: ({ dir, port }) =>
      Bun.which("gunicorn") === null
        ? undefined
        : (put(dir, "served.py", ASGI),
          [
            "gunicorn",
            "--chdir",
            dir,
            "-b",
            `127.0.0.1:${port}`,
            "--worker-class",
            "gthread",
            "--threads",
            "16",
            "--log-level",
            "error",
            "served:wsgi",
          ]),
  },
];

export interface UpstreamServer {
  readonly name: string;
  readonly port: number;
  /** The bodies of all received POSTs. */
  seen(): Promise<readonly string[]>;
  stop(): Promise<void>;
}

/** Starts a server of a kind and resolves when it listens; undefined if it is not installed. */
export async function startUpstreamServer(kind: UpstreamServerKind): Promise<UpstreamServer | undefined> {
  const dir = mkdtempSync(join(tmpdir(), "ingress-upstream-"));
  const log = join(dir, "posts.log");
  if (kind.command({ dir, port: 0, log }) === undefined) {
    rmSync(dir, { recursive: true });
    return undefined;
  }
  const server = await startServerProcess({
    name: kind.name,
    ports: 1,
    command: ([port = 0]) => kind.command({ dir, port, log }) ?? [],
    isReady: async ({ ports: [port = 0] }) => {
      const socket = await Bun.connect({ hostname: "127.0.0.1", port, socket: { data() {} } });
      socket.end();
      return true;
    },
    env: { ...process.env, LOG: log, GOCACHE: join(dir, "cache"), GO111MODULE: "off" },
    // `go run` and gunicorn have them.
    hasChildren: true,
    startMaxMs: 120_000,
  });
  const [port = 0] = server.ports;
  return {
    name: kind.name,
    port,
    seen: async () => (await Bun.file(log).text()).split("\n").filter((line) => line !== ""),
    async stop() {
      await server.stop();
      rmSync(dir, { recursive: true, force: true });
    },
  };
}
