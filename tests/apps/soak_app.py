"""What the soak talks to: each kind of request, and what the process holds."""

import asyncio
import gc
import os
import threading
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextvars import Context
from pathlib import Path
from typing import Any

from flask import Flask, Response, request, stream_with_context
from flask.ctx import AppContext, RequestContext

from flask_aiohttp import AioHTTP, _bridge, await_, websocket
from flask_aiohttp._bridge import Carrier

app = Flask(__name__)
aio = AioHTTP(app)

# One request of twenty fails: its traceback is no news.
app.logger.disabled = True

KINDS = (AppContext, RequestContext, asyncio.Task, Context)


@app.route("/sync")
def sync_view() -> str:
    return "ok"


@app.route("/async")
async def async_view() -> str:
    await asyncio.sleep(0)
    return "ok"


@app.route("/waits")
def waits() -> str:
    await_(asyncio.sleep(0))
    return "ok"


@app.route("/task")
async def task() -> str:
    aio.create_task(asyncio.sleep(0), request_context=True)
    return "ok"


@app.route("/error")
async def error() -> str:
    raise LookupError("one of the errors that happen")


@app.route("/stream")
async def stream() -> Response:
    async def parts() -> AsyncIterator[str]:
        for _ in range(5):
            yield "o" * 1000
            await asyncio.sleep(0)

    return Response(parts())


@app.route("/stream-sync")
def stream_sync() -> Response:
    @stream_with_context
    def parts() -> Iterator[str]:
        for _ in range(5):
            yield request.args.get("piece", "o") * 1000

    return Response(parts())


@app.route("/upload", methods=["POST"])
async def upload() -> str:
    return str(len(request.get_data()))


@app.route("/upload-sync", methods=["POST"])
def upload_sync() -> str:
    return str(len(request.get_data()))


@app.route("/endless")
async def endless() -> Response:
    async def parts() -> AsyncIterator[str]:
        while True:
            yield "o" * 1000
            await asyncio.sleep(0.001)

    return Response(parts())


@app.route("/echo")
@websocket
async def echo() -> None:
    async for message in aio.ws:
        await aio.ws.send_str(message.data)


@app.route("/held")
async def held() -> dict[str, Any]:
    return count()


def count() -> dict[str, Any]:
    """Count what the process holds, this request included."""
    gc.collect()
    objects = gc.get_objects()
    counts = Counter(type(each).__name__ for each in objects if type(each) in KINDS)
    carriers = [each for each in objects if type(each) is Carrier]
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return {
        "resident KiB": pages * os.sysconf("SC_PAGE_SIZE") // 1024,
        "tasks": len(asyncio.all_tasks()),
        "tasks in memory": counts["Task"],
        "application contexts": counts["AppContext"],
        "request contexts": counts["RequestContext"],
        "contexts": counts["Context"],
        "greenlets at work": sum(carrier.task is not None for carrier in carriers),
        "greenlets lost": len(carriers) - len(_bridge._idle.carriers),
        "threads": threading.active_count(),
        "files": len(os.listdir("/proc/self/fd")),
    }
