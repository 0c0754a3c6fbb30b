"""What the Autobahn testsuite talks to: an echo, as a user would write it, in each variety."""

from __future__ import annotations

from aiohttp import WSMsgType
from flask import Flask

from flask_aiohttp import AioHTTP, await_, websocket

app = Flask(__name__)
aio = AioHTTP(app)


async def echo() -> None:
    """Send back what comes."""
    async for message in aio.ws:
        if message.type is WSMsgType.TEXT:
            await aio.ws.send_str(message.data)
        elif message.type is WSMsgType.BINARY:
            await aio.ws.send_bytes(message.data)


app.add_url_rule("/plain", "plain", websocket(echo))
app.add_url_rule("/deflate", "deflate", websocket(compress=True)(echo))
app.add_url_rule("/thread", "thread", websocket(lambda: await_(echo())))
