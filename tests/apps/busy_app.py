"""An application that is very busy when it is told to stop."""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

from flask import Flask, request

from flask_aiohttp import AioHTTP, sse, websocket

app = Flask(__name__)
aio = AioHTTP(app)


def say(text: str) -> None:
    print(text, flush=True)


@aio.on_startup
def start() -> None:
    say(f"hook: startup {os.getpid()}")


@aio.on_shutdown
def stop() -> None:
    say(f"hook: shutdown {os.getpid()}")


def is_due() -> bool:
    return Path(request.args["until"]).exists()


async def due() -> None:
    say("held")
    while not is_due():  # noqa: ASYNC110 - the test is another process
        await asyncio.sleep(0.05)


@app.route("/wait")
async def wait() -> str:
    await due()
    return "waited"


@app.route("/short")
async def short() -> str:
    return "short"


@app.route("/upload", methods=["POST"])
async def upload() -> str:
    say("held")
    return str(len(request.get_data()))


@app.route("/stream")
async def stream() -> AsyncIterator[str]:
    yield "first"
    await due()
    yield " last"


@app.route("/events")
async def events():
    async def endless() -> AsyncIterator[str]:
        yield "first"
        say("held")
        await asyncio.Event().wait()

    return sse(endless())


@app.route("/ws")
@websocket
async def ws() -> None:
    async for message in aio.ws:
        await aio.ws.send_str(message.data)


@app.route("/block")
async def block() -> str:
    say("blocking")
    while not is_due():
        time.sleep(0.01)
    return "too late"
