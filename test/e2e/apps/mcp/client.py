"""client.py TRANSPORT URL: calls the tool with the official client for Python."""

import asyncio
import sys

from mcp import ClientSession
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client

transport, url = sys.argv[1:]


async def main() -> None:
    connect = sse_client if transport == "sse" else streamable_http_client
    async with connect(url) as streams:
        async with ClientSession(streams[0], streams[1]) as session:
            await session.initialize()
            result = await session.call_tool("count", {"to": 3})
            print(result.content[0].text)


asyncio.run(asyncio.wait_for(main(), 60))
