"""Four views of a Flask application on aiohttp, and one page that shows them.

gunicorn app:app -k flask_aiohttp_worker.Worker -w 2
"""

from __future__ import annotations

import asyncio
import inspect
import os
import threading
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
from aiohttp import WSCloseCode, WSMsgType
from flask import Flask, Response, abort, render_template, request, url_for
from yarl import URL

from flask_aiohttp import AioHTTP, Event, sse, websocket

app = Flask(__name__)
aio = AioHTTP(app)


class Shared:
    """What all requests of one worker have in common."""

    session: aiohttp.ClientSession


@aio.lifespan
async def worker_lifespan() -> AsyncIterator[None]:
    async with aiohttp.ClientSession(raise_for_status=True) as Shared.session:
        yield


@app.get("/")
def index() -> str:
    return render_template("index.html", code_of=CODE, worker=os.getpid())


@app.get("/sync")
def sync_view() -> dict[str, Any]:
    time.sleep(0.2)  # may block: it has a thread to itself
    return where()


@app.get("/wait")
async def wait() -> dict[str, Any]:
    await asyncio.sleep(1)  # the loop serves others meanwhile
    return where()


@app.get("/parallel")
async def parallel() -> dict[str, Any]:
    if not request.remote_addr:
        abort(501, "Over a Unix socket the demo cannot call itself.")
    # The server's own address; a Host header may say anything.
    host, port = request.environ["SERVER_NAME"], request.environ["SERVER_PORT"]
    url = URL.build(scheme="http", host=host, port=int(port), path=url_for("wait"))
    start = time.perf_counter()

    async def call() -> dict[str, Any]:
        began = time.perf_counter() - start
        async with Shared.session.get(url) as response:
            answer = await response.json()
        return {**answer, "began": began, "ended": time.perf_counter() - start}

    calls = await asyncio.gather(*(call() for _ in range(10)))
    return {"seconds": time.perf_counter() - start, "calls": calls}


@app.get("/events")
async def events() -> Response:
    # A browser that lost the connection says what it had last.
    last = request.headers.get("Last-Event-ID", 0, type=int)

    async def count() -> AsyncIterator[Event]:
        for number in range(1, 11)[last:]:
            yield Event(where(), id=str(number))
            await asyncio.sleep(0.5)
        yield Event("counted to ten", event="done")

    return sse(count())


@app.route("/chat")
@websocket
async def chat() -> None:
    name = request.args.get("name", "").strip()[:20] or "Somebody"
    if await aio.rooms.members("chat") >= 100:
        abort(503)  # before the handshake it is plain HTTP
    ws = aio.ws
    await ws.send_json({"serving": os.getpid()})
    try:
        async with aio.rooms.join("chat"):
            await tell(note=f"{name} joined")
            async for message in ws:
                if message.type is not WSMsgType.TEXT or len(message.data) > 500:
                    refusal = b"only text of at most 500 characters"
                    await ws.close(code=WSCloseCode.POLICY_VIOLATION, message=refusal)
                    break
                await tell(name=name, text=message.data)
                await asyncio.sleep(0.1)  # who writes faster than that waits
    finally:
        await tell(note=f"{name} left")


async def tell(**event: str) -> None:
    """Send an event to all members of the chat, in whichever worker they are."""
    members = await aio.rooms.members("chat")
    await aio.rooms.send("chat", {**event, "worker": os.getpid(), "members": members})


def where() -> dict[str, Any]:
    """Say which process and thread this code runs in."""
    return {"worker": os.getpid(), "thread": threading.current_thread().name}


def source(*functions: Callable[..., object]) -> str:
    return "\n\n".join(inspect.getsource(function).strip() for function in functions)


# The page shows the code that runs, not a copy of it.
CODE = {
    "sync": source(sync_view),
    "async": source(wait, parallel, worker_lifespan),
    "stream": source(events),
    "chat": source(chat, tell),
}

if __name__ == "__main__":
    aio.run(app)
