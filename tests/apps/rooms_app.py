"""An application whose rooms are used over several workers, and machines."""

from __future__ import annotations

import json
import os
from typing import Any

from flask import Flask, request

from flask_aiohttp import AioHTTP, await_, sse, websocket

app = Flask(__name__)
app.config.from_prefixed_env("TEST")
aio = AioHTTP(app)


@app.route("/join/<room>")
@websocket
async def join(room: str) -> None:
    """Tell which worker this is, then what is sent to the room."""
    async with aio.rooms.join(room):
        await aio.ws.send_json({"worker": os.getpid()})
        async for _ in aio.ws:
            pass


@app.route("/speak/<room>")
@websocket
async def speak(room: str) -> None:
    """Send to the room what comes, and say what became of it."""
    await aio.ws.send_json({"worker": os.getpid()})
    async for message in aio.ws:
        sent = await aio.rooms.send(room, json.loads(message.data))
        await aio.ws.send_json(sent)


@app.get("/send/<room>/<text>")
def send(room: str, text: str) -> dict[str, Any]:
    return {"sent": await_(aio.rooms.send(room, text)), "worker": os.getpid()}


@app.get("/listen/<room>")
async def listen(room: str) -> Any:
    async def messages() -> Any:
        yield {"worker": os.getpid()}
        async with aio.rooms.listen(room) as heard:
            yield "listening"
            async for message in heard:
                yield message

    return sse(messages())


@app.get("/members/<room>")
async def members(room: str) -> str:
    return str(await aio.rooms.members(room))


@app.get("/stats")
async def stats() -> dict[str, int]:
    return {**vars(aio.rooms.stats()), "worker": os.getpid()}


@app.get("/environ")
def environ() -> dict[str, Any]:
    """Whether the secret of the rooms can be seen by what this application starts."""
    return {"names": list(os.environ), "args": request.args}
