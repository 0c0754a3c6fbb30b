"""A server that stops loses nothing that is on its way."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator

import aiohttp
import pytest
from flask import Flask, request
from harness import PATIENCE, connect, eventually, get, serve
from sockets import add_echoes

from flask_aiohttp import AioHTTP, _goodbye, _listener
from flask_aiohttp._goodbye import say_goodbye


def make_app() -> Flask:
    app = Flask("drain")
    add_echoes(app, AioHTTP(app))

    @app.post("/upload")
    async def upload() -> str:
        return str(len(request.get_data()))

    @app.get("/")
    async def index() -> str:
        return "served"

    return app


async def test_a_late_request_on_a_kept_connection_is_answered() -> None:
    """A client that was promised the connection uses it once more, and learns that it was last."""
    async with serve(make_app(), linger=60.0) as served:
        reader, writer = await connect(served, get("/"))
        await reader.readuntil(b"served")
        stop = asyncio.create_task(served.server.stop(60))
        await eventually(lambda: served.server.traffic.closing, "the stop")
        writer.write(get("/"))
        answer = await reader.read()
        await stop
        writer.close()

    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"\r\nConnection: close\r\n" in answer


async def test_a_connection_without_a_request_is_not_waited_for_longer() -> None:
    """After its linger it ends, in peace."""
    async with serve(make_app(), linger=0.1) as served:
        reader, writer = await connect(served, get("/"))
        await reader.readuntil(b"served")
        await served.server.stop(3600)
        rest = await reader.read()
        writer.close()

    assert b"" == rest


@pytest.mark.parametrize("accepted", [False, True], ids=["queued", "accepted"])
async def test_a_request_that_nobody_has_read_is_served(accepted: bool) -> None:
    """It came just before the stop: in the kernel's queue, or on a connection just accepted."""
    async with serve(make_app(), linger=60.0) as served:
        client = socket.create_connection(("127.0.0.1", served.port))
        if accepted:
            await eventually(lambda: len(served.server.connections), "the connection")
        client.sendall(get("/"))
        await served.server.stop(3600)
        answer = client.recv(1 << 16)
        client.close()

    assert answer.endswith(b"served")


async def test_a_stream_that_ends_late_leaves_its_connection_open() -> None:
    """Its head promised the connection, before the stop; so the linger begins with its end."""
    app = make_app()
    due = asyncio.Event()

    @app.get("/stream")
    async def stream() -> AsyncIterator[str]:
        yield "first"
        await due.wait()
        yield "last"

    async with serve(app, linger=1.0) as served:
        reader, writer = await connect(served, get("/stream"))
        await reader.readuntil(b"first")
        stop = asyncio.create_task(served.server.stop(60))
        await asyncio.sleep(1.5)  # longer than the linger
        due.set()
        await reader.readuntil(b"0\r\n\r\n")
        writer.write(get("/"))
        answer = await reader.read()
        await stop
        writer.close()

    assert answer.endswith(b"served")


async def test_an_upload_under_way_is_finished() -> None:
    """The rest of a body is still read after the stop has begun."""
    async with serve(make_app()) as served:
        head = b"POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\n"
        reader, writer = await connect(served, head + bytes(100_000))
        await eventually(lambda: served.server.traffic.in_flight, "the request")
        stop = asyncio.create_task(served.server.stop(60))
        await eventually(lambda: served.server.traffic.closing, "the stop")
        writer.write(bytes(100_000))
        answer = await reader.read()
        await stop
        writer.close()

    assert answer.endswith(b"\r\n\r\n200000")


@pytest.mark.parametrize("restarting, code", [(False, 1001), (True, 1012)])
async def test_websockets_are_told_whether_to_come_back(restarting: bool, code: int) -> None:
    """1001 at a stop, 1012 where somebody serves on; a close is answered with a close."""
    async with serve(make_app()) as served:
        sockets = [await served.session.ws_connect("/async") for _ in range(3)]
        for ws in sockets:
            await ws.send_str("hello")
            await ws.receive_str()
        stop = asyncio.create_task(served.server.stop(60, restarting=restarting))
        codes = [(await ws.receive()).data for ws in sockets]
        await stop
        for ws in sockets:
            await ws.close()

    assert [code] * 3 == codes


async def test_a_handshake_under_way_does_not_hold_the_stop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A client that has not even finished its TLS handshake has asked for nothing."""
    monkeypatch.setattr(_listener, "_HANDSHAKE_TIMEOUT", 3600.0)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    async with serve(make_app(), linger=0.1) as served:
        sock = socket.create_server(("127.0.0.1", 0))
        address = sock.getsockname()
        await served.server.listen(sock, ssl_context=context)
        client = socket.create_connection(address)
        await eventually(lambda: len(served.server.connections), "the connection")
        await asyncio.wait_for(served.server.stop(3600), PATIENCE)
        rest = client.recv(1)
        client.close()

    assert b"" == rest


class Socket:
    """A websocket whose client answers at once, or never."""

    def __init__(self, *, answers: bool = True) -> None:
        self.told: list[int] = []
        self.answers = answers

    async def close(self, *, code: int, message: bytes) -> None:
        self.told.append(code)
        if not self.answers:
            await asyncio.Event().wait()


@pytest.mark.parametrize(
    "number, spread, pause", [(3, 2.0, 0.01), (1000, 2.0, 0.002), (5, 0.0, None)]
)
async def test_websockets_are_not_told_all_at_once(
    number: int, spread: float, pause: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A few go at once, many within the spread, and none waits where there is no spread."""
    pauses = []
    sleep = asyncio.sleep

    async def note(seconds: float) -> None:
        pauses.append(seconds)
        await sleep(0)

    monkeypatch.setattr(_goodbye.asyncio, "sleep", note)
    sockets = [Socket() for _ in range(number)]

    await say_goodbye(sockets, 1012, spread)

    assert [[1012]] * number == [socket.told for socket in sockets]
    assert ([] if pause is None else [pause] * number) == pauses


async def test_a_websocket_whose_client_is_silent_does_not_outlast_the_goodbye() -> None:
    """Who gives up the goodbye gives up each close."""
    silent = Socket(answers=False)
    goodbye = asyncio.create_task(say_goodbye([silent]))
    await eventually(lambda: silent.told, "the close")

    goodbye.cancel()
    with pytest.raises(asyncio.CancelledError):
        await goodbye
    assert [aiohttp.WSCloseCode.GOING_AWAY] == silent.told
