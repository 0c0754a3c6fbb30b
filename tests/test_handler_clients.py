"""A client that leaves, or does not read, costs nothing but its own request."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Iterator
from typing import Any

import pytest
from flask import request
from harness import Served, eventually
from watching import CLOSE, Application, both_places, in_both_places, watched

from flask_aiohttp import await_
from flask_aiohttp._writer import Connection


async def send(served: Served, data: bytes) -> socket.socket:
    """Return a new connection on which *data* has been sent."""
    connection = socket.create_connection(("127.0.0.1", served.port))
    connection.setblocking(False)
    await asyncio.get_running_loop().sock_sendall(connection, data)
    return connection


def leave(connection: socket.socket, how: str) -> None:
    """Close a connection in order, or as a client does that crashes or loses its network."""
    if how == "reset":
        linger_not = struct.pack("ii", 1, 0)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_not)
    connection.close()


both_ways = pytest.mark.parametrize("how", ["close", "reset"])


@both_ways
@both_places
@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: 100\r\n\r\nshort",
        b"Content-Length: 100000\r\n\r\nshort",
        b"Transfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n",
    ],
)
async def test_body_cut_short_is_no_body(head: bytes, path: str, how: str) -> None:
    """A view never takes a part of a body for the whole; the log says why it got none."""
    app = Application()
    got: list[bytes] = []
    in_both_places(app, lambda: got.append(request.get_data()) or "ok")
    for rule in app.url_map.iter_rules():
        rule.methods = None

    async with watched(app) as served:
        data = b"POST %b HTTP/1.1\r\nHost: a\r\n%b" % (path.encode(), head)
        connection = await send(served, data)
        await eventually(lambda: served.server.traffic.in_flight, "the request")
        leave(connection, how)
        await eventually(lambda: not served.server.traffic.in_flight, "its end")

    assert [] == got
    said = "the client closed the connection while the server was reading the request body"
    assert [f"INFO POST {path}: {said}"] == app.log.lines


@both_ways
@both_places
async def test_client_that_leaves_ends_the_stream(path: str, how: str) -> None:
    """A stream whose client goes is closed, its ``finally`` run, and no error is logged."""
    app = Application()

    def parts() -> Iterator[bytes]:
        while True:
            await_(asyncio.sleep(0))
            yield b"x" * 1000

    in_both_places(app, lambda: app.stream(parts()))
    async with watched(app) as served:
        connection = await send(served, b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % path.encode())
        await asyncio.get_running_loop().sock_recv(connection, 1000)
        leave(connection, how)
        await eventually(lambda: app.closed, "the generator's end")

    assert [path] == app.closed
    assert [] == app.log.of("ERROR")
    assert 1 == len(app.log.of(f"INFO GET {path}: the client closed the connection"))


async def test_client_that_has_all_of_a_stream_may_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    """From its last bytes on, a stream does not count as cut off: the client may go at once."""
    app = Application()
    streaming: list[bool] = []
    send = Connection.send

    def watch(connection: Connection, data: bytes) -> None:
        if data == b"0\r\n\r\n":
            streaming.extend(e.is_streaming for e in served.server.traffic.in_flight.values())
        send(connection, data)

    monkeypatch.setattr(Connection, "send", watch)
    in_both_places(app, lambda: app.stream(iter(["one", "two"])))
    async with watched(app) as served, served.session.get("/async") as response:
        assert b"onetwo" == await response.read()

    assert [False] == streaming


@both_places
async def test_client_that_does_not_read_stops_the_stream(path: str) -> None:
    """A generator is asked for no more than the client takes, goes on with it, and ends with it."""
    app = Application()
    made = [0]

    def parts() -> Iterator[bytes]:
        while True:
            made[0] += 1
            yield b"x" * 65536

    in_both_places(app, lambda: app.stream(parts()))
    async with watched(app) as served:
        connection = await send(served, b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % path.encode())
        traffic = served.server.traffic
        await eventually(lambda: is_held_back(traffic), "the socket's buffers to be full")
        stopped = made[0]
        for _ in range(10):
            async with served.session.get("/async-ok", headers=CLOSE) as response:
                await response.read()
        still = made[0]
        loop = asyncio.get_running_loop()
        while made[0] == stopped:
            assert await loop.sock_recv(connection, 1 << 20)
        leave(connection, "close")
        await eventually(lambda: app.closed, "the generator's end")

    assert stopped == still < 1000
    assert [path] == app.closed
    assert [] == app.log.of("ERROR")


def is_held_back(traffic: Any) -> bool:
    """Return True if the one request in flight waits for its client to read."""
    exchanges = list(traffic.in_flight.values())
    return len(exchanges) == 1 and exchanges[0].connection._request.protocol.writing_paused


@both_ways
@both_places
async def test_client_that_does_not_wait_is_no_error(path: str, how: str) -> None:
    """A view whose client has left is not disturbed, and its answer goes nowhere, in silence."""
    app = Application()
    go_on = asyncio.Event()
    ended: list[str] = []

    def view() -> str:
        await_(go_on.wait())
        ended.append(path)
        return "too late"

    in_both_places(app, view)
    async with watched(app) as served:
        connection = await send(served, b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % path.encode())
        await eventually(lambda: served.server.traffic.in_flight, "the request")
        (exchange,) = served.server.traffic.in_flight.values()
        leave(connection, how)
        await eventually(
            lambda: exchange.connection.gone or exchange.client.left, "the server to notice"
        )
        go_on.set()
        await eventually(lambda: ended, "the view's end")

    assert [path] == ended
    assert [] == app.log.of("ERROR")
