import { startServerProcess } from "../../scripts/lib/server-process.ts";

/** A sandbox with Node's strict parser (llhttp), in its own process. Its answers describe what it has read. */
export interface NodeUpstream extends AsyncDisposable {
  readonly port: number;
}

/** The content of its answers, as JSON; the body latin1. */
export interface NodeReading {
  readonly method: string;
  readonly url: string;
  readonly body: string;
}

const SCRIPT = `
  const server = require("node:http").createServer({ insecureHTTPParser: false }, (request, response) => {
    let body = "";
    request.on("data", (data) => (body += data.toString("latin1")));
    request.on("end", () => response.end(JSON.stringify({ method: request.method, url: request.url, body })));
  });
  server.listen(0, "127.0.0.1", () => console.log(server.address().port));
`;

/** Starts it. `node` must be installed (requirePart). */
export async function startNodeUpstream(): Promise<NodeUpstream> {
  const server = await startServerProcess({
    name: "node",
    command: () => ["node", "-e", SCRIPT],
    isReady: ({ readOutput }) => /^\d+\n/.test(readOutput()),
  });
  return { port: Number.parseInt(server.readOutput(), 10), [Symbol.asyncDispose]: () => server.stop() };
}
