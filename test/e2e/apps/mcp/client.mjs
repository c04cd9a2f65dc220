// client.mjs TRANSPORT URL: calls the tool with the official client for TypeScript.
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { SSEClientTransport } from "@modelcontextprotocol/sdk/client/sse.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";

const [transport, url] = process.argv.slice(2);
const Transport = transport === "sse" ? SSEClientTransport : StreamableHTTPClientTransport;
const client = new Client({ name: "proof", version: "1.0.0" });
await client.connect(new Transport(new URL(url)));
const result = await client.callTool({ name: "count", arguments: { to: 3 } });
console.log(result.content[0].text);
await client.close();
process.exit(0);
