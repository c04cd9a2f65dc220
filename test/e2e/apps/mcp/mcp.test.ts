import { expect } from "bun:test";
import { copyFileSync } from "node:fs";
import { join } from "node:path";
import { cacheFolder, sourceFolder } from "../../../../scripts/lib/apps/install-app.ts";
import { startLocalApp } from "../../../support/apps/local-app.ts";
import { runClient } from "../../../support/apps/run-client.ts";
import { tryApp, type Visit } from "../../../support/apps/try-app.ts";

const PYTHON = join(cacheFolder("mcp"), "venv/bin/python");

/** Its server on this machine takes a Host of this machine only. */
const HOST_REFUSED = /421|Misdirected|Invalid Host/i;
/** The server tells, in a body, that messages go to `/messages/`. */
const LEFT_PREFIX = /Error POSTing to endpoint \(HTTP 40\d\)/;

async function callTool(visit: Visit, transport: string, path: string): Promise<void> {
  const url = `${visit.place.origin}${visit.place.prefix}${path}`;
  const script = join(cacheFolder("mcp"), "client.mjs");
  copyFileSync(join(sourceFolder("mcp"), "client.mjs"), script);
  const python = [PYTHON, join(sourceFolder("mcp"), "client.py")];
  for (const program of [["node", script], python]) {
    const told = await runClient(visit, { command: [...program, transport, url] });
    expect(told.trim()).toBe("counted to 3");
  }
}

for (const [transport, path, protocol] of [
  ["streamable-http", "/mcp", "streamable HTTP"],
  ["sse", "/sse", "SSE"],
] as const) {
  tryApp({
    name: "mcp",
    title: `MCP over ${protocol}`,
    start: ({ port, basePath, isStripped }) =>
      startLocalApp({
        name: "mcp",
        port,
        command: [
          PYTHON,
          join(sourceFolder("mcp"), "server.py"),
          transport,
          String(port),
          basePath,
          isStripped ? "stripped" : "seen",
        ],
      }),
    use: (visit) => callTool(visit, transport, path),
    rows: [
      { form: "direct" },
      { form: "host" },
      { form: "host", settings: { "host-header": "preserve" }, fails: HOST_REFUSED },
      { form: "host", settings: { "host-header": "localhost", "origin-header": "upstream" } },
      transport === "sse" ? { form: "uri", fails: LEFT_PREFIX } : { form: "uri" },
      { form: "told" },
      { form: "keep" },
    ],
  });
}
