"""What the tests of rooms share: a directory for sockets, and hubs that are connected."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flask_aiohttp.rooms import Hub
from flask_aiohttp.rooms._bus import Bus, Receiver
from flask_aiohttp.rooms._member import Listener
from flask_aiohttp.rooms._mesh import Mesh
from flask_aiohttp.rooms._message import Message

from .redis_server import RedisServer


@pytest.fixture(name="runtime")
def _runtime(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory with a short path, in which private directories are made."""
    with tempfile.TemporaryDirectory(prefix="r-") as path:
        monkeypatch.delenv("RUNTIME_DIRECTORY", raising=False)
        monkeypatch.setenv("XDG_RUNTIME_DIR", path)
        yield Path(path)


class Worker:
    """The rooms of one worker, in this process."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub

    async def listen(self, room: str) -> Listener:
        return await self.hub.join_listener(room, json.loads)

    async def send(self, room: str, data: Any) -> bool:
        return await self.hub.send(room, Message.of(data, json.dumps), None)


MakeWorker = Callable[..., Worker]


@contextlib.asynccontextmanager
async def workers(
    make_bus: Callable[[Receiver, str, logging.Logger], Bus] = Mesh,
) -> AsyncIterator[MakeWorker]:
    """Make hubs on this loop that have a key in common; they are stopped at the end."""
    hubs = []

    def make(key: str = "key", backlog: int = 10_000_000) -> Worker:
        loop, logger = asyncio.get_running_loop(), logging.getLogger("rooms")
        hub = Hub(lambda receiver: make_bus(receiver, key, logger), loop, backlog, logger)
        hubs.append(hub)
        return Worker(hub)

    try:
        yield make
    finally:
        await asyncio.gather(*(hub.stop() for hub in hubs))


@pytest.fixture(name="redis")
def _redis(require: Callable[[str], str], runtime: Path) -> Iterator[RedisServer]:
    """A Redis server that answers."""
    server = RedisServer(require("redis-server"), runtime)
    server.start()
    yield server
    server.stop()
