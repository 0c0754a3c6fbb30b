"""A connection that only remembers, and exchanges on it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from flask_aiohttp import ClientGone, _bridge
from flask_aiohttp._client import Client
from flask_aiohttp._exchange import Exchange
from flask_aiohttp._threads import ThreadPool
from flask_aiohttp._traffic import Traffic


class FakeConnection:
    """Remembers what is sent; the client takes it when the test says so."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.was_cut = False

        # Cleared while the client takes nothing.
        self.taking = asyncio.Event()
        self.taking.set()

        # True once the client has left.
        self.gone = False

        self.request_is_whole = True
        self.can_send_files = False

    def send(self, data: bytes) -> None:
        assert asyncio.get_running_loop()
        self.writes.append(data)

    async def send_and_drain(self, *pieces: bytes) -> None:
        if self.gone:
            raise ClientGone("sending the answer")
        for piece in pieces:
            self.send(piece)
        await self.taking.wait()

    def cut(self, *, abort: bool = False) -> None:
        self.was_cut = True

    def answer(self) -> tuple[str, dict[str, str], bytes]:
        """Return status, fields and the body's bytes of what was sent."""
        head, _, body = b"".join(self.writes).partition(b"\r\n\r\n")
        status, *lines = head.decode("latin-1").split("\r\n")
        fields = dict(line.split(": ", 1) for line in lines)
        assert len(fields) == len(lines)
        for name in ("Server", "Date"):
            del fields[name]
        return status.removeprefix("HTTP/1.1 "), fields, body


def an_exchange(
    application: Callable[..., Any],
    *,
    method: str = "GET",
    version: tuple[int, int] = (1, 1),
    keep_alive: bool = True,
) -> tuple[Exchange, Any]:
    connection: Any = FakeConnection()
    exchange = Exchange(
        application,
        {"REQUEST_METHOD": method},
        connection,
        Client(None, Traffic()),
        version=version,
        server="server",
        reusable=keep_alive,
    )
    return exchange, connection


async def in_a_greenlet(exchange: Exchange) -> None:
    await _bridge.run(exchange.run)


async def in_a_thread(exchange: Exchange) -> None:
    pool = ThreadPool(1)
    exchange.on_loop = pool.post
    try:
        await pool.run(exchange.run)
    finally:
        pool.stop()


Run = Callable[[Exchange], Awaitable[None]]

# A mark for tests with an argument ``run``: both places in which a request may run.
in_both_places = pytest.mark.parametrize("run", [in_a_greenlet, in_a_thread])


def says(*pieces: Any, status: str = "200 OK", **headers: str) -> Callable[..., Any]:
    """Return an application that answers with these pieces."""

    def application(environ: Any, start_response: Any) -> Any:
        start_response(status, [(name.replace("_", "-"), headers[name]) for name in headers])
        return list(pieces)

    return application
