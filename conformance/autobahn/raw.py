"""The same echo by aiohttp alone, to compare with: prints its port, and serves until it is killed.

The argument is the size of the largest message in bytes.
"""

from __future__ import annotations

import asyncio
import sys

from aiohttp import WSMsgType, web


async def echo(request: web.Request) -> web.WebSocketResponse:
    """Send back what comes."""
    ws = web.WebSocketResponse(max_msg_size=int(sys.argv[1]))
    await ws.prepare(request)
    async for message in ws:
        if message.type is WSMsgType.TEXT:
            await ws.send_str(message.data)
        elif message.type is WSMsgType.BINARY:
            await ws.send_bytes(message.data)
    return ws


async def main() -> None:
    """Serve."""
    app = web.Application()
    app.router.add_get("/raw", echo)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(f"Listening at: http://127.0.0.1:{runner.addresses[0][1]}", flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
