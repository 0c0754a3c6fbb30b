"""Count what a process holds before and after something goes wrong."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from flask import Flask, Response, g, request, stream_with_context
from harness import Served, eventually, serve

from flask_aiohttp import _bridge
from flask_aiohttp._bridge import Carrier

CLOSE = {"Connection": "close"}


class Log(logging.Logger):
    """Keeps what is logged as text: a kept record keeps the frames of its traceback."""

    def __init__(self) -> None:
        super().__init__("failures", logging.INFO)
        self.formatter = logging.Formatter("%(levelname)s %(message)s")
        self.lines: list[str] = []

    def handle(self, record: logging.LogRecord) -> None:
        self.lines.append(self.formatter.format(record))

    def of(self, level: str) -> list[str]:
        return [line for line in self.lines if line.startswith(level)]


class Application(Flask):
    """Watches what each request makes."""

    def __init__(self) -> None:
        super().__init__("failures")
        self.logger = self.log = Log()
        self.alive: weakref.WeakSet[Any] = weakref.WeakSet()
        self.closed: list[str] = []
        self.before_request(self._watch_contexts)
        self.add_url_rule("/ok", "ok", lambda: "ok")
        self.add_url_rule("/async-ok", "async_ok", async_ok)

    def _watch_contexts(self) -> None:
        self.alive.add(request._get_current_object())
        self.alive.add(g._get_current_object())

    def stream(self, parts: Iterator[Any]) -> Response:
        """Return an answer whose generator is watched, and noted when it is closed."""

        def noted() -> Iterator[Any]:
            try:
                yield from parts
            finally:
                self.closed.append(request.path)

        generator = noted()
        self.alive.add(generator)
        return Response(stream_with_context(generator))


async def async_ok() -> str:
    await asyncio.sleep(0)
    return "ok"


def held(app: Application, threads: set[threading.Thread]) -> dict[str, int]:
    """Count what the process holds, of threads only those that are not among *threads*."""
    gc.collect()
    carriers = [thing for thing in gc.get_objects() if isinstance(thing, Carrier)]
    return {
        "tasks besides this one": len(asyncio.all_tasks()) - 1,
        "new threads": len(set(threading.enumerate()) - threads),
        "carriers at work": sum(carrier.task is not None for carrier in carriers),
        "carriers lost": len(carriers) - len(_bridge._idle.carriers),
        "contexts and generators": len(app.alive),
    }


@contextlib.asynccontextmanager
async def watched(app: Application) -> AsyncIterator[Served]:
    """Serve *app*; at the end it still serves, and holds no more than before."""
    # No heartbeat, and no long timeout: asyncio keeps the context of a cancelled timer until the
    # timer would be due, if another one is due before.
    settings = {"threads": 1, "logger": app.log, "websocket_heartbeat": 0, "body_timeout": 1.0}
    settings["send_timeout"] = 5.0
    async with serve(app, **settings) as served:
        await check(served)
        await eventually(lambda: len(asyncio.all_tasks()) == 1, "the end of the connections")
        threads = set(threading.enumerate())
        before = held(app, threads)
        yield served
        await check(served)
        await eventually(
            lambda: held(app, threads) == before, f"{before}, now {held(app, threads)}"
        )


async def check(served: Served) -> None:
    """Get an answer from each place, on new connections."""
    for path in ("/ok", "/async-ok"):
        async with served.session.get(path, headers=CLOSE) as response:
            assert "ok" == await response.text()
    await eventually(lambda: not served.server.traffic.in_flight, "the end of all requests")


def in_both_places(app: Application, view: Callable[[], Any]) -> None:
    """Serve *view* in a thread, and below an async view on the loop."""

    async def async_view() -> Any:
        await asyncio.sleep(0)
        return view()

    app.add_url_rule("/sync", "sync", view)
    app.add_url_rule("/async", "async", async_view)


both_places = pytest.mark.parametrize("path", ["/sync", "/async"])
