"""Websockets that more than one module of tests uses."""

from __future__ import annotations

from aiohttp import WSMsgType
from flask import Flask

from flask_aiohttp import AioHTTP, await_, websocket

# What a client sends besides the path.
HANDSHAKE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}


def add_echoes(app: Flask, aio: AioHTTP) -> None:
    """Add a websocket that echoes, once for each place: ``/async`` and ``/sync``."""

    @app.route("/async")
    @websocket
    async def async_echo() -> None:
        async for message in aio.ws:
            if message.type is WSMsgType.TEXT:  # not an ERROR
                await aio.ws.send_str(message.data)

    @app.route("/sync")
    @websocket
    def sync_echo() -> None:
        while (message := await_(aio.ws.receive())).type is WSMsgType.TEXT:
            await_(aio.ws.send_str(message.data))
