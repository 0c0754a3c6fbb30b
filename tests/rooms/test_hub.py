"""The hub of one worker outlives the requests that use it."""

from __future__ import annotations

import asyncio
import json
import logging
from contextvars import ContextVar
from types import SimpleNamespace
from typing import Any, cast

from harness import eventually

from flask_aiohttp._websocket import WebSocket
from flask_aiohttp.rooms._bus import NoBus
from flask_aiohttp.rooms._hub import Hub
from flask_aiohttp.rooms._message import Message

request: ContextVar[str | None] = ContextVar("request", default=None)


class Seen(NoBus):
    """A bus, and a websocket that is too slow, which note in whose context they are used."""

    def __init__(self) -> None:
        self.contexts: dict[str, str | None] = {}
        self.over = False
        self.transport = SimpleNamespace(
            is_closing=lambda: False, get_write_buffer_size=lambda: 100, abort=lambda: None
        )

    async def start(self) -> None:
        self.contexts["start"] = request.get()

    async def close(self, **_: Any) -> None:
        self.contexts["close"] = request.get()


async def test_what_it_starts_is_of_no_request() -> None:
    """Neither its bus, which would keep the first one, nor the close of a slow socket."""
    seen = Seen()
    hub = Hub(lambda _: seen, asyncio.get_running_loop(), 10, logging.getLogger("rooms"))
    request.set("the first one")
    await hub.join_socket("a", cast("WebSocket", seen))
    await hub.send("a", Message.of("x", json.dumps), None)
    await eventually(lambda: "close" in seen.contexts, "the close")
    await hub.stop()

    assert {"start": None, "close": None} == seen.contexts
