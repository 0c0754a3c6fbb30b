"""A websocket of a ``def`` view holds a thread, and cannot take the last one."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from flask import Flask
from harness import Served, eventually, serve
from sockets import HANDSHAKE, add_echoes
from watching import Application

from flask_aiohttp import AioHTTP, _handshake
from flask_aiohttp._seldom import Seldom


@pytest.fixture(autouse=True)
def _warned_of_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_handshake, "_too_many", Seldom())


def make_app() -> Application:
    app = Application()
    add_echoes(app, AioHTTP(app))
    app.add_url_rule("/plain", "plain", lambda: "plain")
    return app


async def refused(served: Served, path: str) -> Any:
    async with served.session.get(path, headers=HANDSHAKE) as response:
        assert 503 == response.status
        assert "as many of these websockets as there may be" in await response.text()
        return response.headers["Retry-After"]


@pytest.mark.parametrize(("threads", "allowed"), [(4, 3), (2, 1), (1, 1)])
async def test_sockets_beyond_the_pool_are_refused(threads: int, allowed: int) -> None:
    """503 before the handshake, at once; the log says what to do, and not each time."""
    app = make_app()

    async with serve(app, threads=threads, logger=app.log) as served:
        sockets = [await served.session.ws_connect("/sync") for _ in range(allowed)]
        for socket in sockets:
            await socket.send_str("hello")
            assert "hello" == await socket.receive_str()
        if threads > 1:
            assert ["5"] * 2 == [await refused(served, "/sync") for _ in range(2)]
            async with served.session.get("/plain") as response:
                assert "plain" == await response.text()
        async with served.session.ws_connect("/async") as on_loop:
            await on_loop.send_str("hello")
            assert "hello" == await on_loop.receive_str()
        for socket in sockets:
            await socket.close()

    if threads > 1:
        assert 1 == len(app.log.lines)
        assert f"hold {allowed} of {threads} threads" in app.log.lines[0]
        assert "'async def', or raise AIOHTTP_THREADS" in app.log.lines[0]


async def test_thread_of_a_closed_socket_is_free_again() -> None:
    """However it ended: by a close, by the client's leaving."""
    app = make_app()

    async with serve(app, threads=2, logger=app.log) as served:
        for _ in range(3):
            async with served.session.ws_connect("/sync"):
                await refused(served, "/sync")
            await eventually(lambda: not served.server.traffic.websockets, "the socket's end")
            socket = await served.session.ws_connect("/sync")
            socket._response.connection.transport.abort()
            await eventually(lambda: not served.server.traffic.websockets, "the socket's end")
            await socket.close()
        assert 0 == served.server.traffic.threads_held


async def test_sockets_that_open_at_once_are_counted_too() -> None:
    """Of ten at the same moment no more get a thread than one after another."""
    app = make_app()

    async def knock(served: Served) -> int:
        async with served.session.get("/sync", headers=HANDSHAKE) as response:
            if response.status == 101:
                response.connection.transport.abort()
            return response.status

    async with serve(app, threads=4, logger=app.log) as served:
        held = [await served.session.ws_connect("/sync") for _ in range(2)]
        statuses = await asyncio.gather(*(knock(served) for _ in range(10)))
        for socket in held:
            await socket.close()

    assert {101, 503} >= set(statuses)
    assert 1 <= statuses.count(101)
    assert 0 == served.server.traffic.threads_held


async def test_view_may_answer_before_it_is_counted() -> None:
    """Only an open socket holds its thread: a refusal by the application takes none."""
    app = Flask(__name__)
    aio = AioHTTP(app)
    add_echoes(app, aio)

    @app.before_request
    def refuse() -> Any:
        return ("no", 401)

    async with serve(app, threads=2) as served:
        for _ in range(5):
            async with served.session.get("/sync", headers=HANDSHAKE) as response:
                assert 401 == response.status
        assert 0 == served.server.traffic.threads_held
