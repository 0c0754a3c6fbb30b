"""A client that does not read holds up nobody: neither who sends, nor other members, nor a stop."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest
from flask import Flask
from harness import PATIENCE, connect, eventually, serve

from flask_aiohttp import AioHTTP, Lagged, websocket
from flask_aiohttp.rooms import _member

HANDSHAKE = (
    b"GET /join HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)


@pytest.fixture(name="application")
def _application() -> tuple[Flask, AioHTTP]:
    app = Flask("slow_members")
    app.config["AIOHTTP_ROOMS_BACKLOG"] = 300_000
    aio = AioHTTP(app)

    @app.route("/join")
    @websocket
    async def join() -> None:
        async with aio.rooms.join("a"):
            await aio.ws.send_str("joined")
            async for _ in aio.ws:
                pass

    return app, aio


async def fill(aio: AioHTTP) -> int:
    """Send until somebody is too slow, and return how many messages that took."""
    count = 0
    while not aio.rooms.stats().slow_sockets:
        assert count < 1000
        await aio.rooms.send("a", f"{count:05}" + "x" * 100_000)
        count += 1
    return count


async def test_a_socket_that_cannot_keep_up_is_closed_with_1013(application: Any) -> None:
    """After what it was sent before: it loses the last messages, and knows that it did."""
    app, aio = application
    async with serve(app) as served, served.session.ws_connect("/join", max_msg_size=0) as slow:
        # A client that reads: aiohttp's stops at some point of its own, and so stands for one
        # that does not.
        assert "joined" == await slow.receive_str()
        sent = await fill(aio)
        heard = []
        while (message := await slow.receive(timeout=PATIENCE)).type is aiohttp.WSMsgType.TEXT:
            heard.append(int(message.data[:5]))

        assert list(range(sent - 1)) == heard
        assert aiohttp.WSCloseCode.TRY_AGAIN_LATER == message.data
        assert 1 == aio.rooms.stats().slow_sockets
        await eventually(lambda: not aio.rooms.stats().members, "the view to end")


async def test_what_was_sent_before_can_be_read_after_the_view_has_ended(application: Any) -> None:
    """The client is told that it was too slow, and still gets all that it was sent in time."""
    app, aio = application
    async with serve(app) as served:
        reader, writer = await connect(served, HANDSHAKE)
        await reader.readuntil(b"joined")
        writer.transport.pause_reading()
        sent = await fill(aio)
        await eventually(lambda: not served.server.traffic.in_flight, "the view to end")
        writer.transport.resume_reading()
        received = await reader.read()
        writer.close()
        await writer.wait_closed()

    assert [True] * (sent - 1) == [f"{n:05}x".encode() in received for n in range(sent - 1)]
    assert received.endswith(b"too slow for its rooms")


async def test_other_members_hear_everything(application: Any) -> None:
    """While one of them reads nothing at all."""
    app, aio = application
    async with serve(app) as served, served.session.ws_connect("/join", max_msg_size=0) as slow:
        await slow.receive_str()
        async with aio.rooms.listen("a") as messages:
            sent = 0
            while not aio.rooms.stats().slow_sockets:
                await aio.rooms.send("a", f"{sent:05}" + "x" * 100_000)
                assert f"{sent:05}" == (await anext(messages))[:5]
                sent += 1


async def test_a_listener_that_cannot_keep_up_gets_a_notice(application: Any) -> None:
    """Counted, and with the number of messages that are lost."""
    app, aio = application
    async with serve(app), aio.rooms.listen("a") as messages:
        for number in range(10):
            await aio.rooms.send("a", f"{number:05}" + "x" * 100_000)
        first = await anext(messages)
        second = await anext(messages)

        assert isinstance(first, Lagged)
        assert f"{first.missed:05}" == second[:5]
        assert 1 == aio.rooms.stats().lagged_listeners


async def test_a_stop_does_not_wait_for_a_slow_client(application: Any) -> None:
    """The connection is cut."""
    app, aio = application
    async with serve(app, graceful_timeout=1.0) as served:
        async with served.session.ws_connect("/join", max_msg_size=0) as slow:
            await slow.receive_str()
            await fill(aio)
            await served.server.stop(0.5)
            # What is left is what the client had received by then.
            while (message := await slow.receive(timeout=PATIENCE)).type is aiohttp.WSMsgType.TEXT:
                pass

        assert message.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED)


async def test_what_a_client_never_reads_is_not_kept(
    application: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a while the connection is cut, with all that waits in it."""
    monkeypatch.setattr(_member, "_PATIENCE", 0.1)
    app, aio = application
    async with serve(app) as served:
        reader, writer = await connect(served, HANDSHAKE)
        await reader.readuntil(b"joined")
        writer.transport.pause_reading()
        (socket,) = served.server.traffic.websockets
        transport = socket.transport
        assert transport is not None
        await fill(aio)
        await eventually(lambda: not transport.get_write_buffer_size(), "the connection to be cut")
        assert transport.is_closing()
        writer.transport.abort()
        await asyncio.wait({asyncio.ensure_future(writer.wait_closed())})
