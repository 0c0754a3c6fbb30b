"""The application of ``rooms.py``: one room, over websockets."""

from __future__ import annotations

import os

from flask import Flask

from flask_aiohttp import AioHTTP, websocket

app = Flask(__name__)
app.config["AIOHTTP_ROOMS_URL"] = os.environ.get("ROOMS_REDIS")
aio = AioHTTP(app)


@app.route("/join")
@websocket
async def join() -> None:
    async with aio.rooms.join("crowd"):
        await aio.ws.send_str(f"ready {os.getpid()}")
        async for _ in aio.ws:
            pass


@app.route("/speak")
@websocket
async def speak() -> None:
    await aio.ws.send_str(f"ready {os.getpid()}")
    async for message in aio.ws:
        await aio.rooms.send("crowd", message.data)
