"""Uploads and downloads without end, in both places, and what the process holds meanwhile."""

import asyncio
import gc
import re
import threading
import weakref
from collections.abc import AsyncIterator, Iterator
from typing import Any

from flask import Flask, Response, request, stream_with_context

from flask_aiohttp import AioHTTP, _bridge, await_, sse
from flask_aiohttp._bridge import Carrier

app = Flask(__name__)
app.config.from_prefixed_env()
AioHTTP(app)

PIECE = b"x" * 65536

# Generators that are suspended somewhere: an open one leaves only when it is closed.
generators: "weakref.WeakSet[Any]" = weakref.WeakSet()


def watched(generator: Any) -> Any:
    generators.add(generator)
    return generator


def how_long() -> Iterator[None]:
    """Come once for each piece: "pieces" times, without end, or once and then never again."""
    pieces = request.args["pieces"]
    if pieces == "one":
        yield
        await_(asyncio.Event().wait())
    elif pieces == "endless":
        while True:
            yield
    else:
        for _ in range(int(pieces)):
            yield


def plain() -> Iterator[bytes]:
    for _ in how_long():
        yield PIECE


async def asynchronous() -> AsyncIterator[bytes]:
    pieces = request.args["pieces"]
    number = 1 if pieces == "one" else -1 if pieces == "endless" else int(pieces)
    while number:
        number -= 1
        yield PIECE
    if pieces == "one":
        await asyncio.Event().wait()


async def events() -> AsyncIterator[str]:
    async for piece in asynchronous():
        yield piece.decode()


def body(kind: str) -> Any:
    if kind == "plain":
        return Response(stream_with_context(watched(plain())))
    if kind == "events":
        return sse(watched(events()))
    return watched(asynchronous())


@app.get("/loop/<kind>")
async def download_on_the_loop(kind: str) -> Any:
    return body(kind)


@app.get("/thread/<kind>")
def download_in_a_thread(kind: str) -> Any:
    return body(kind)


def count_upload() -> str:
    length = 0
    while piece := request.stream.read(65536):
        length += len(piece)
    return str(length)


@app.post("/loop")
async def upload_on_the_loop() -> str:
    return count_upload()


@app.post("/thread")
def upload_in_a_thread() -> str:
    return count_upload()


@app.get("/")
async def index() -> str:
    return "here"


@app.get("/sync")
def sync() -> str:
    return "here"


@app.get("/held")
async def held() -> dict[str, int]:
    """What the process holds besides this request."""
    gc.collect()
    carriers = [thing for thing in gc.get_objects() if isinstance(thing, Carrier)]
    of_pool = [t for t in threading.enumerate() if re.fullmatch(r"flask-aiohttp-\d+", t.name)]
    return {
        # This connection has one for itself, and one for its request.
        "tasks": len(asyncio.all_tasks()) - 2,
        # The pool starts its ten as they are needed, and keeps them.
        "threads of the pool": max(10, len(of_pool)),
        "other threads": threading.active_count() - len(of_pool),
        "carriers at work": sum(carrier.task is not None for carrier in carriers) - 1,
        "carriers lost": len(carriers) - len(_bridge._idle.carriers) - 1,
        "generators": len(generators),
    }


everybody = threading.Barrier(10)


@app.get("/everybody")
def wait_for_everybody() -> str:
    """Answer when each of the ten threads has such a request."""
    everybody.wait(20)
    return "all threads"
