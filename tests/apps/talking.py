"""A websocket that talks to clients of any kind, and remembers how they left."""

from __future__ import annotations

import asyncio

from aiohttp import WSMsgType
from flask import Flask

from flask_aiohttp import AioHTTP, websocket

app = Flask(__name__)
aio = AioHTTP(app)

# Codes with which sockets were closed, the last one last.
codes: list[int | None] = []


@app.get("/")
def page() -> str:
    return "<!doctype html><title>talking</title>"


@app.get("/codes")
def closed_with() -> list[int | None]:
    return codes


@app.route("/talk")
@websocket(protocols=("talk.v2", "talk.v1"), compress=True)
async def talk() -> None:
    try:
        async for message in aio.ws:
            if message.data == "close":
                await aio.ws.close(code=4001, message=b"as you say")
            elif message.type is WSMsgType.TEXT:
                await aio.ws.send_str(message.data)
            else:
                await aio.ws.send_bytes(message.data)
    finally:
        codes.append(aio.ws.close_code)


@app.route("/pinged")
@websocket(heartbeat=2)
async def pinged() -> None:
    """Say so, if the client has answered a ping: one that has not is closed after a second."""
    await aio.ws.accept()
    receiving = asyncio.create_task(aio.ws.receive())
    await asyncio.sleep(3.5)
    await aio.ws.send_str("still here")
    await receiving
