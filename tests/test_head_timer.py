"""A client has so long for each request head, whatever the keepalive, and no longer."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from flask import Flask, request
from harness import PATIENCE, Served, connect, get, serve

from flask_aiohttp import AioHTTP

# Seconds, for the timers that are to run out, and for those that must not.
SHORT = 0.05
LONG = 1000.0

PARTIAL = b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow:"


@contextlib.asynccontextmanager
async def serving(head_timeout: float, keepalive: float) -> AsyncIterator[Served]:
    app = Flask("heads")
    app.config["AIOHTTP_HEAD_TIMEOUT"] = head_timeout
    AioHTTP(app)

    @app.route("/", methods=["GET", "POST"])
    async def index() -> str:
        body = request.get_data()
        return f"{len(body)} bytes"

    async with serve(app, keepalive=keepalive) as served:
        yield served


async def answer(reader: asyncio.StreamReader) -> bytes:
    """Read one answer to its end."""
    return await asyncio.wait_for(reader.readuntil(b" bytes"), PATIENCE)


async def wait_for_end(reader: asyncio.StreamReader) -> bytes:
    """Return what comes until the server closes the connection.

    Where that meets bytes on their way, it is a reset.
    """
    with contextlib.suppress(ConnectionResetError):
        return await asyncio.wait_for(reader.read(), PATIENCE)
    return b""


async def outwait(served: Served) -> None:
    """Wait longer than the timer of a head: for one that has begun now to run out."""
    reader, writer = await connect(served, PARTIAL)
    await wait_for_end(reader)
    writer.close()


@pytest.mark.parametrize("keepalive", [0, LONG])
@pytest.mark.parametrize("sent", [b"", b"G", PARTIAL], ids=["nothing", "a byte", "a part"])
async def test_first_head_is_due_from_the_accept(keepalive: float, sent: bytes) -> None:
    """Also of a client that says nothing; there is no answer to what is no request."""
    async with serving(SHORT, keepalive) as served:
        reader, writer = await connect(served, sent)

        assert b"" == await wait_for_end(reader)
        writer.close()


async def test_next_head_is_due_from_its_first_byte() -> None:
    """On a connection that might stay idle for long."""
    async with serving(SHORT, LONG) as served:
        reader, writer = await connect(served, get("/"))
        await answer(reader)
        writer.write(PARTIAL)

        assert b"" == await wait_for_end(reader)
        writer.close()


async def test_a_head_that_dribbles_has_no_more_time() -> None:
    """Each further byte buys nothing."""
    async with serving(SHORT, LONG) as served:
        reader, writer = await connect(served, PARTIAL)
        ended = asyncio.create_task(wait_for_end(reader))
        while not ended.done():
            writer.write(b"x")
            await asyncio.sleep(SHORT / 10)
        writer.close()

        assert b"" == await ended


async def test_an_idle_connection_is_kept_for_longer() -> None:
    """Between two requests nothing is due."""
    async with serving(SHORT, LONG) as served:
        reader, writer = await connect(served, get("/"))
        for _ in range(2):
            await answer(reader)
            await outwait(served)
            writer.write(get("/"))

        assert (await answer(reader)).startswith(b"HTTP/1.1 200 OK")
        writer.close()


async def test_a_body_may_take_longer_than_its_head() -> None:
    """It has a time of its own, between two pieces."""
    async with serving(SHORT, LONG) as served:
        head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n"
        reader, writer = await connect(served, head + b"x" * 50_000)
        await outwait(served)
        writer.write(b"x" * 50_000)

        assert (await answer(reader)).endswith(b"\r\n\r\n100000 bytes")
        writer.close()


async def test_a_head_that_has_begun_is_not_ended_by_the_keepalive() -> None:
    """That one is for connections on which nothing happens."""
    async with serving(LONG, SHORT) as served:
        reader, writer = await connect(served, get("/"))
        await answer(reader)
        writer.write(PARTIAL)
        idle, idle_writer = await connect(served, get("/"))
        await wait_for_end(idle)
        idle_writer.close()
        writer.write(b" 1\r\n\r\n")

        assert (await answer(reader)).startswith(b"HTTP/1.1 200 OK")
        writer.close()
