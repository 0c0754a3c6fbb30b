"""The server that the worker and ``aio.run()`` share: it starts, and stops without losing work."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from typing import Any

import aiohttp
import pytest
from flask import Flask
from harness import Served, eventually, serve

from flask_aiohttp import AioHTTP, websocket
from flask_aiohttp._server import Server
from flask_aiohttp._settings import ServerSettings


class Application:
    """A Flask application whose requests wait for the test, and what happened in it, in order."""

    def __init__(self) -> None:
        self.flask = Flask(__name__)
        self.aio = AioHTTP(self.flask)
        self.events: list[str] = []
        self.released = asyncio.Event()
        self.released_thread = threading.Event()

        @self.flask.route("/hold")
        async def hold() -> str:
            self.events.append("begun")
            try:
                await self.released.wait()
            except asyncio.CancelledError:
                self.events.append("cancelled")
                raise
            self.events.append("ended")
            return "released"

        @self.flask.route("/hold-sync")
        def hold_sync() -> str:
            self.events.append("begun")
            self.released_thread.wait(20)
            self.events.append("ended")
            return "released"

        @self.flask.route("/ws")
        @websocket
        async def ws() -> None:
            async for message in self.aio.ws:
                await self.aio.ws.send_str(message.data)

        @self.flask.route("/ws-late")
        @websocket
        async def ws_late() -> None:
            self.events.append("begun")
            await self.released.wait()
            await self.aio.ws.receive()

        @self.aio.on_startup
        def start() -> None:
            self.events.append("startup")

        @self.aio.on_shutdown
        async def stop() -> None:
            self.events.append("shutdown")

    def release(self) -> None:
        self.released.set()
        self.released_thread.set()


async def stop_while_held(
    application: Application, served: Served, path: str, timeout: float
) -> tuple[asyncio.Task[Any], asyncio.Task[None]]:
    """Begin a request, then a stop; return both once the server stops."""
    request = asyncio.create_task(served.session.get(path))
    await eventually(lambda: "begun" in application.events, "the request")
    stop = asyncio.create_task(served.server.stop(timeout))
    await eventually(lambda: served.server.traffic.closing, "the stop")
    return request, stop


@pytest.mark.parametrize("path", ["/hold", "/hold-sync"])
async def test_a_stop_lets_a_request_end_before_the_hooks(path: str) -> None:
    """The answer arrives whole and says that it is the last; on_shutdown runs after it."""
    application = Application()

    async with serve(application.flask) as served:
        request, stop = await stop_while_held(application, served, path, 60)
        application.release()
        async with await request as response:
            text = await response.text()
        await stop

    assert "released" == text
    assert "close" == response.headers["Connection"]
    assert ["startup", "begun", "ended", "shutdown"] == application.events


async def test_a_stop_that_is_out_of_time_cancels(caplog: pytest.LogCaptureFixture) -> None:
    """What outlasts the timeout is cancelled, and the log says so; then the hooks run."""
    application = Application()

    async with serve(application.flask) as served:
        request, stop = await stop_while_held(application, served, "/hold", 0)
        with pytest.raises(aiohttp.ClientError):
            await request
        await stop

    assert ["startup", "begun", "cancelled", "shutdown"] == application.events
    assert "1 requests were cancelled at the stop" in caplog.text


@pytest.mark.parametrize("path", ["/hold", "/hold-sync"])
async def test_haste_breaks_off_a_stop(path: str) -> None:
    """hurry() ends a stop that waits for a request, in whichever place that runs."""
    application = Application()

    async with serve(application.flask) as served:
        request, stop = await stop_while_held(application, served, path, 3600)
        served.server.hurry()
        await stop
        application.release()
        with pytest.raises(aiohttp.ClientError):
            await request

    assert "shutdown" in application.events


async def test_haste_that_comes_first_is_remembered() -> None:
    """hurry() before stop() lets the stop wait for nothing."""
    application = Application()

    async with serve(application.flask) as served:
        served.server.hurry()
        request, stop = await stop_while_held(application, served, "/hold", 3600)
        await stop
        with pytest.raises(aiohttp.ClientError):
            await request

    assert ["startup", "begun", "cancelled", "shutdown"] == application.events


async def test_a_stop_closes_websockets_with_1001() -> None:
    """A client that is open learns that the server goes away, and may come back elsewhere."""
    application = Application()

    async with serve(application.flask) as served, served.session.ws_connect("/ws") as ws:
        await ws.send_str("hello")
        await ws.receive_str()
        stop = asyncio.create_task(served.server.stop(60))
        message = await ws.receive()
        await stop

    assert (aiohttp.WSMsgType.CLOSE, aiohttp.WSCloseCode.GOING_AWAY) == (message.type, message.data)


async def test_a_websocket_that_opens_during_a_stop_is_closed_with_1001() -> None:
    """A handshake that was under way is finished, so that its client is told properly."""
    application = Application()

    async with serve(application.flask) as served:
        connect = asyncio.create_task(served.session.ws_connect("/ws-late"))
        await eventually(lambda: "begun" in application.events, "the request")
        stop = asyncio.create_task(served.server.stop(60))
        await eventually(lambda: served.server.traffic.closing, "the stop")
        application.release()
        async with await connect as ws:
            message = await ws.receive()
        await stop

    assert (aiohttp.WSMsgType.CLOSE, aiohttp.WSCloseCode.GOING_AWAY) == (message.type, message.data)


async def test_nothing_new_is_accepted_during_a_stop() -> None:
    """The listening socket closes at once, though a request is still waited for."""
    application = Application()

    async with serve(application.flask) as served:
        request, stop = await stop_while_held(application, served, "/hold", 60)
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", served.port)
        application.release()
        (await request).release()
        await stop


async def test_an_idle_connection_ends_with_the_server() -> None:
    """A kept-alive connection without a request does not hold up the stop."""
    application = Application()
    application.release()

    async with serve(application.flask) as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(b"GET /hold HTTP/1.1\r\nHost: a\r\n\r\n")
        await reader.readuntil(b"released")
        await served.server.stop(3600)
        rest = await reader.read()
        writer.close()

    assert b"" == rest


async def test_a_task_is_waited_for() -> None:
    """create_task() is work that a stop does not lose: it ends before on_shutdown runs."""
    application = Application()

    async def work() -> None:
        await application.released.wait()
        application.events.append("task ended")

    async with serve(application.flask) as served:
        with application.flask.app_context():
            application.aio.create_task(work())
        stop = asyncio.create_task(served.server.stop(60))
        await eventually(lambda: served.server.traffic.closing, "the stop")
        application.release()
        await stop

    assert ["startup", "task ended", "shutdown"] == application.events


async def test_a_task_that_does_not_end_is_cancelled(caplog: pytest.LogCaptureFixture) -> None:
    """The deadline holds for tasks too, and the log names the one that was cut."""
    application = Application()

    async def endless_work() -> None:
        await asyncio.Event().wait()

    async with serve(application.flask) as served:
        with application.flask.app_context():
            application.aio.create_task(endless_work(), name="endless")
        await served.server.stop(0)

    assert ["startup", "shutdown"] == application.events
    assert "the task 'endless' was cancelled at the stop" in caplog.text


async def test_one_server_listens_on_several_sockets() -> None:
    """gunicorn may bind more than once; each socket leads to the same application."""
    application = Application()
    application.release()

    async with serve(application.flask) as served:
        other = socket.create_server(("127.0.0.1", 0))
        port = other.getsockname()[1]
        await served.server.listen(other)
        texts = []
        for url in (f"http://127.0.0.1:{port}/hold", "/hold"):
            async with served.session.get(url) as response:
                texts.append(await response.text())

    assert ["released", "released"] == texts
    assert ["startup", "shutdown"] == [
        e for e in application.events if e in ("startup", "shutdown")
    ]


async def test_a_start_that_fails_raises_what_the_hook_raised() -> None:
    """start() hides nothing, and on_shutdown does not run for a start that never was complete."""
    application = Application()

    @application.aio.on_startup
    async def fail() -> None:
        raise LookupError("no database")

    server = Server(
        application.flask.aiohttp_app, ServerSettings(logger=logging.getLogger(__name__))
    )

    with pytest.raises(LookupError, match="no database"):
        await server.start()

    assert ["startup"] == application.events


async def test_native_routes_are_served_beside_flask() -> None:
    """An aiohttp route that was added to aiohttp_app is served by the same server."""
    application = Application()
    application.release()

    async def native(request: aiohttp.web.Request) -> aiohttp.web.Response:
        return aiohttp.web.Response(text="native")

    application.flask.aiohttp_app.router.add_get("/native", native)

    async with serve(application.flask) as served:
        texts = []
        for path in ("/native", "/hold"):
            async with served.session.get(path) as response:
                texts.append(await response.text())

    assert ["native", "released"] == texts
    assert "shutdown" == application.events[-1]


async def test_an_aiohttp_application_without_flask_is_served_and_stopped() -> None:
    """The server runs any aiohttp application, and lets its requests end too."""
    begun, released = asyncio.Event(), asyncio.Event()

    async def hold(request: aiohttp.web.Request) -> aiohttp.web.Response:
        begun.set()
        await released.wait()
        return aiohttp.web.Response(text="released")

    application = aiohttp.web.Application()
    application.router.add_get("/hold", hold)

    async with serve(application, graceful_timeout=60) as served:
        request = asyncio.create_task(served.session.get("/hold"))
        await begun.wait()
        stop = asyncio.create_task(served.server.stop(60))
        await eventually(lambda: served.server.traffic.closing, "the stop")
        released.set()
        async with await request as response:
            text = await response.text()
        await stop

    assert "released" == text
