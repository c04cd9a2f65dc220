"""server.py TRANSPORT PORT BASE: a server with one tool, over sse or streamable-http."""

import sys

from mcp.server.mcpserver import Context, MCPServer

transport, port, base = sys.argv[1:]
server = MCPServer("proof")


@server.tool()
async def count(to: int, context: Context) -> str:
    """Counts, and tells its progress on the way."""
    for step in range(to):
        await context.report_progress(step + 1, to)
    return f"counted to {to}"


if transport == "sse":
    server.run("sse", port=int(port), sse_path=f"{base}/sse", message_path=f"{base}/messages/")
else:
    server.run("streamable-http", port=int(port), streamable_http_path=f"{base}/mcp")
