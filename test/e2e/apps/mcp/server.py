"""server.py TRANSPORT PORT BASE stripped|seen: a server with one tool, over sse or streamable-http."""

import sys

import uvicorn

from mcp.server.mcpserver import Context, MCPServer

transport, port, base, kind = sys.argv[1:]
server = MCPServer("proof")


@server.tool()
async def count(to: int, context: Context) -> str:
    """Counts, and tells its progress on the way."""
    for step in range(to):
        await context.report_progress(step + 1, to)
    return f"counted to {to}"


if kind == "stripped":
    # What stands in front of a server is ASGI's `root_path`.
    app = server.sse_app() if transport == "sse" else server.streamable_http_app()
    uvicorn.run(app, host="127.0.0.1", port=int(port), root_path=base)
elif transport == "sse":
    server.run("sse", port=int(port), sse_path=f"{base}/sse", message_path=f"{base}/messages/")
else:
    server.run("streamable-http", port=int(port), streamable_http_path=f"{base}/mcp")
