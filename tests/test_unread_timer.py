"""What is left of an answer when its request has ended has its time to be read, and no longer."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Any
from unittest import mock

import pytest
from flask import Flask
from harness import PATIENCE, eventually, get

from flask_aiohttp import AioHTTP, _unread_timer
from flask_aiohttp._server import Server
from flask_aiohttp._settings import ServerSettings
from flask_aiohttp._unread_timer import UnreadTimer

# More than the sockets' buffers take, as they are set below, and less than makes an answer wait.
BODY = b"x" * 50_000

LONG = 1000.0


class Served:
    def __init__(self, server: Server, client: socket.socket) -> None:
        self.server = server
        self.client = client

    @property
    def connections(self) -> int:
        """How many connections the server has."""
        manager = self.server._runner.server
        assert manager is not None
        return len(manager.connections)

    async def ask(self) -> None:
        """Send a request, and wait until it has been served."""
        total = self.server.traffic.total
        await asyncio.get_running_loop().sock_sendall(self.client, get("/"))
        traffic = self.server.traffic
        await eventually(lambda: traffic.total > total and not traffic.in_flight, "the request")

    async def receive(self) -> bytes:
        """Return all that comes."""
        received, loop = b"", asyncio.get_running_loop()
        while data := await asyncio.wait_for(loop.sock_recv(self.client, 1 << 16), PATIENCE):
            received += data
        return received


@contextlib.asynccontextmanager
async def serving(send_timeout: float, keepalive: float) -> AsyncIterator[Served]:
    """Serve with buffers that are soon full, and yield a connection that reads nothing."""
    app = Flask("unread")
    app.config["AIOHTTP_SEND_TIMEOUT"] = send_timeout
    app.add_url_rule("/", "index", index)
    server = Server(
        AioHTTP(app).create_aiohttp_app(app),
        ServerSettings(keepalive=keepalive, graceful_timeout=1.0),
    )
    await server.start()
    with socket.socket() as listening, socket.socket() as client:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        await server.listen(listening)
        client.setblocking(False)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(client, ("127.0.0.1", listening.getsockname()[1]))
        try:
            yield Served(server, client)
        finally:
            client.close()
            await server.stop(1.0)


async def index() -> bytes:
    return BODY


@pytest.mark.parametrize("keepalive", [0, LONG])
async def test_an_answer_that_is_left_unread_ends_its_connection(keepalive: float) -> None:
    """Whether the connection was to be kept or to be closed."""
    async with serving(send_timeout=0.05, keepalive=keepalive) as served:
        await served.ask()
        await eventually(lambda: not served.connections, "the connection's end")
        with pytest.raises(ConnectionResetError):
            await served.receive()


async def test_an_answer_that_is_read_late_is_whole() -> None:
    """Within its time it may lie there."""
    async with serving(send_timeout=LONG, keepalive=0) as served:
        await served.ask()
        received = await served.receive()

    assert received.endswith(BODY)


class Watched(UnreadTimer):
    """A connection without aiohttp."""

    def __init__(self, waiter: object) -> None:
        self._waiter = waiter  # type: ignore[assignment]
        self.logger = mock.Mock()
        self._send_timeout = 0.0
        self._unread_timer = None


@pytest.mark.parametrize(
    ("waits_for_request", "closes", "sizes", "is_reset"),
    [
        (True, False, [10, 10], True),
        (False, True, [10, 10], True),
        (True, False, [10, 9, 8, 8], True),
        (True, False, [10, 5, 0], False),
        (True, False, [0], False),
        (False, False, [10, 10, 10, 0], False),
    ],
)
async def test_progress_gives_more_time(
    monkeypatch: pytest.MonkeyPatch,
    waits_for_request: bool,
    closes: bool,
    sizes: list[int],
    is_reset: bool,
) -> None:
    """A client that takes a little each time keeps its answer; a request looks for itself."""
    resets: list[Any] = []
    monkeypatch.setattr(_unread_timer, "reset", resets.append)
    remaining = [*sizes]
    transport = mock.Mock(
        get_write_buffer_size=lambda: remaining.pop(0) if len(remaining) > 1 else remaining[0],
        is_closing=lambda: closes,
    )
    watched = Watched(waiter="a future" if waits_for_request else None)

    watched.watch_unread(transport)
    await eventually(lambda: watched._unread_timer is None, "the timer to have run out")

    assert is_reset is bool(resets)
