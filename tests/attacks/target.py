"""A server to be attacked, which remembers each request that an application has seen."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable
from typing import Any

from aiohttp import web
from flask import Flask, request
from harness import PATIENCE, Served, connect, serve

from flask_aiohttp import AioHTTP

# What is sent behind an attack. It must never be served.
CANARY = b"GET /canary HTTP/1.1\r\nHost: canary\r\n\r\n"


class Target:
    """One served application, and what it has seen: method, target and body of each request."""

    def __init__(self, served: Served, seen: list[tuple[str, str, bytes]]) -> None:
        self.served = served
        self.seen = seen

    async def answer(self, *pieces: bytes, close: bool = False) -> bytes:
        """Send *pieces* on one connection, and return all that comes back until its end.

        Args:
            close: Close our side after the last piece.
        """
        reader, writer = await connect(self.served, b"")
        for piece in pieces:
            if writer.transport.is_closing():
                break
            with contextlib.suppress(ConnectionError):
                writer.write(piece)
                await writer.drain()
            # Not for luck: without this the pieces would travel as one.
            await asyncio.sleep(0.001)
        if close:
            with contextlib.suppress(OSError):  # the server was faster
                writer.write_eof()
        answer = await asyncio.wait_for(reader.read(), PATIENCE)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        return answer


@contextlib.asynccontextmanager
async def target(kind: str, **settings: Any) -> AsyncIterator[Target]:
    """Serve Flask's views of a kind, "thread" or "loop", or a "native" handler of aiohttp's."""
    seen: list[tuple[str, str, bytes]] = []
    async with serve(
        _native(seen) if kind == "native" else _flask(kind, seen), **settings
    ) as served:
        yield Target(served, seen)


def _flask(kind: str, seen: list[tuple[str, str, bytes]]) -> Flask:
    app = Flask("attacked")
    AioHTTP(app)

    def note() -> str:
        seen.append((request.method, request.environ["RAW_URI"], request.get_data()))
        return "seen"

    async def note_on_loop() -> str:
        return note()

    view = note if kind == "thread" else note_on_loop
    methods = ["GET", "POST", "PUT", "DELETE", "OPTIONS"]
    app.add_url_rule("/", "root", view, methods=methods)
    app.add_url_rule("/<path:path>", "any", lambda path: note(), methods=methods)
    if kind == "loop":

        async def any_on_loop(path: str) -> str:
            return note()

        app.view_functions["any"] = any_on_loop
    return app


def _native(seen: list[tuple[str, str, bytes]]) -> web.Application:
    async def note(request: web.Request) -> web.Response:
        body = await request.read()
        seen.append((request.method, request.raw_path, body))
        return web.Response(text="seen")

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", note)
    return app


def statuses(answer: bytes) -> list[str]:
    """Return the status of each answer on a connection."""
    parts = answer.split(b"HTTP/1.1 ")
    assert parts[0] == b"", answer
    return [part[:3].decode() for part in parts[1:]]


def lines(*fields: str, body: bytes = b"", first: str = "POST / HTTP/1.1") -> bytes:
    """Return a request with these header lines."""
    return "\r\n".join([first, *fields, "", ""]).encode("latin-1") + body


def each_byte(data: bytes) -> Iterable[bytes]:
    """Return the bytes one by one."""
    return (data[place : place + 1] for place in range(len(data)))
