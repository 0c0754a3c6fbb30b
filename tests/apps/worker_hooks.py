"""An application whose hook does what WORKER_HOOK says: "start raises", "stop hangs", ..."""

import asyncio
import os
import time
from collections.abc import AsyncIterator

from flask import Flask

from flask_aiohttp import AioHTTP

app = Flask(__name__)
aio = AioHTTP(app)

when, _, how = os.environ["WORKER_HOOK"].partition(" ")


def say(text: str) -> None:
    print(text, flush=True)


async def misbehave() -> None:
    say(f"the {when} {how}")
    if how == "raises":
        raise LookupError("no database")
    if how == "exits":
        raise SystemExit(7)
    if how == "is cancelled":
        waited = asyncio.create_task(asyncio.sleep(60))
        asyncio.get_running_loop().call_soon(waited.cancel)
        await waited
    if how == "hangs":
        await asyncio.Event().wait()
    if how == "hangs on":
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                say("told to end")
    if how == "blocks":
        time.sleep(60)  # the line that blocks


@aio.on_shutdown
def stop_last() -> None:
    say("stopped last")


@aio.lifespan
async def opened() -> AsyncIterator[None]:
    say("opened")
    yield
    say("closed")


if when == "start":
    aio.on_startup(misbehave)
else:
    aio.on_shutdown(misbehave)


@aio.on_startup
def start_last() -> None:
    say("started last")


@app.route("/")
def view() -> str:
    return "ok"
