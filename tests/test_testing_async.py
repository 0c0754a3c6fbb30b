"""In ``async def`` tests Flask's client works too, and ``aio.test_client()`` is aiohttp's."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp.test_utils import TestClient
from flask import Flask, Response, request

from flask_aiohttp import AioHTTP, BridgeRequired, NotInitialized, await_, websocket
from flask_aiohttp._background import background_loop
from flask_aiohttp.testing import FlaskAioHTTPClient, TestServer


class App(Flask):
    def __init__(self) -> None:
        super().__init__(__name__)
        self.testing = True
        self.aio = AioHTTP(self)
        self.loops: list[Any] = []
        self.calls: list[str] = []

        @self.get("/async")
        async def async_view() -> str:
            await asyncio.sleep(0)
            self.loops.append(asyncio.get_running_loop())
            return request.args["name"]

        @self.get("/sync")
        def sync_view() -> str:
            self.loops.append(threading.current_thread())
            return await_(self.name())

        @self.get("/stream")
        async def stream() -> AsyncIterator[str]:
            for part in "abc":
                await asyncio.sleep(0)
                yield part
            self.calls.append("streamed")

        @self.get("/task")
        def task() -> str:
            async def work() -> None:
                self.calls.append("worked")

            await_(asyncio.wait_for(self.aio.create_task(work()), 10))
            return "ok"

        @self.route("/echo")
        @websocket
        async def echo() -> None:
            async for message in self.aio.ws:
                await self.aio.ws.send_str(message.data)

        @self.aio.on_startup
        def start() -> None:
            self.calls.append("start")

        @self.aio.on_shutdown
        async def stop() -> None:
            self.calls.append("stop")

    async def name(self) -> str:
        self.loops.append(asyncio.get_running_loop())
        return request.args["name"]


@pytest.fixture(name="app")
def _app() -> App:
    return App()


async def test_async_views_run_on_the_background_loop(app: App) -> None:
    """Flask alone refuses ``async def`` views where a loop runs."""
    client = app.test_client()

    assert "ada" == client.get("/async?name=ada").text
    assert [background_loop()] == app.loops


async def test_sync_views_stay_in_the_thread_of_the_test(app: App) -> None:
    """So a connection that the test has opened serves them; they may wait nevertheless."""
    assert "ada" == app.test_client().get("/sync?name=ada").text
    assert [threading.current_thread(), background_loop()] == app.loops


@pytest.mark.parametrize("buffered", [True, False])
async def test_streamed_answers_are_read_piece_by_piece(app: App, buffered: bool) -> None:
    """The body of an async generator is read when the test reads it."""
    response = app.test_client().get("/stream", buffered=buffered)
    assert (["streamed"] if buffered else []) == app.calls

    assert "abc" == response.text
    response.close()


async def test_closed_answers_close_their_generators(app: App) -> None:
    """A test that reads only the beginning closes the rest."""
    closed = []

    @app.get("/endless")
    async def endless() -> Any:
        async def numbers() -> AsyncIterator[bytes]:
            try:
                while True:
                    yield b"x"
            finally:
                await asyncio.sleep(0)
                closed.append(request.path)

        return Response(numbers())

    with app.test_client() as client:
        response = client.get("/endless")
        assert b"x" == next(response.iter_encoded())
        response.close()

    assert ["/endless"] == closed


async def test_tasks_of_a_view_run_on_the_background_loop(app: App) -> None:
    """There they go on, while the loop of the test stands still."""
    assert "ok" == app.test_client().get("/task").text
    assert ["worked"] == app.calls


async def test_websockets_open_in_async_tests(app: App) -> None:
    """The synchronous client serves there as anywhere else."""
    client = app.test_client()
    assert isinstance(client, FlaskAioHTTPClient)
    with client.websocket("/echo") as ws:
        ws.send_str("x")
        assert "x" == ws.receive_str()


async def test_outside_of_the_client_the_loop_is_not_held_up(app: App) -> None:
    """What the client may, the test itself may not: ``await_()`` is refused as before."""
    app.test_client().get("/async?name=ada")

    with pytest.raises(BridgeRequired):
        await_(asyncio.sleep(0))


async def test_aiohttps_client_talks_to_a_server(app: App) -> None:
    """HTTP and websockets, with the hooks of start and stop, on the loop of the test."""
    async with app.aio.test_client() as client:
        assert ["start"] == app.calls
        async with client.get("/async", params={"name": "ada"}) as response:
            assert "ada" == await response.text()
        async with client.ws_connect("/echo") as ws:
            await ws.send_str("x")
            assert "x" == await ws.receive_str()

    assert [asyncio.get_running_loop()] == app.loops
    assert ["start", "stop"] == app.calls


async def test_aiohttps_client_can_be_made_again(app: App) -> None:
    """One application serves each test of a module."""
    for _ in range(2):
        async with app.aio.test_client(app) as client, client.get("/stream") as response:
            assert "abc" == await response.text()


async def test_server_with_native_routes(app: App) -> None:
    """``TestServer`` takes an aiohttp application as it is, as pytest-aiohttp hands it over."""
    server = TestServer(app.aiohttp_app)  # type: ignore[attr-defined]
    assert (False, False) == (server.started, server.closed)
    client: TestClient[Any, Any] = TestClient(server)
    await client.start_server()
    await server.start_server()
    assert (True, False) == (server.started, server.closed)
    async with client.get("/stream") as response:
        assert "abc" == await response.text()
    await client.close()
    await client.close()

    assert (False, True) == (server.started, server.closed)
    assert ["start", "streamed", "stop"] == app.calls


async def test_failing_start_is_raised(app: App) -> None:
    """A test learns why its server does not start."""

    @app.aio.on_startup
    def fail() -> None:
        raise LookupError("no database")

    with pytest.raises(LookupError, match="no database"):
        async with app.aio.test_client():
            pass


@pytest.mark.parametrize("app", [None, Flask("other")])
async def test_client_of_no_application_is_refused(app: Flask | None) -> None:
    """The error says what to call first."""
    with pytest.raises(NotInitialized):
        async with AioHTTP().test_client(app):
            pass
