"""However a websocket ends, both sides learn of it, and nothing is left behind."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest
from aiohttp import WSCloseCode, WSMsgType, web
from flask import Flask, abort
from harness import eventually, serve
from sockets import HANDSHAKE, add_echoes
from watching import Application, both_places, watched

from flask_aiohttp import AioHTTP, await_, websocket


def end_with(how: str) -> Any:
    if how == "abort":
        abort(403)
    if how == "raise":
        raise LookupError("broken")
    return {"text": "ignored", "return": None}[how]


@pytest.mark.parametrize("how", ["raise", "text", "return", "abort"])
@both_places
async def test_end_of_the_view_closes_the_socket(path: str, how: str) -> None:
    """A view that ends closes with 1000; one that raises, with 1011 and one traceback."""
    app = Application()
    aio = AioHTTP(app)

    @app.route("/async")
    @websocket
    async def async_view() -> Any:
        await aio.ws.send_str("hello")
        return end_with(how)

    @app.route("/sync")
    @websocket
    def sync_view() -> Any:
        await_(aio.ws.send_str("hello"))
        return end_with(how)

    async with watched(app) as served, served.session.ws_connect(path) as socket:
        assert "hello" == await socket.receive_str()
        last = await socket.receive()

    failed = how == "raise"
    assert WSMsgType.CLOSE is last.type
    assert (WSCloseCode.INTERNAL_ERROR if failed else WSCloseCode.OK) == last.data
    assert failed == len(app.log.lines)
    if failed:
        assert app.log.lines[0].startswith(f"ERROR Exception on {path} [GET]\nTraceback ")


@both_places
async def test_view_that_says_nothing_opens_and_closes(path: str) -> None:
    """A view that returns None has nothing against the socket."""
    app = Flask(__name__)
    AioHTTP(app)
    app.add_url_rule("/sync", "sync", websocket(lambda: None))

    @app.route("/async")
    @websocket
    async def view() -> None:
        pass

    async with serve(app) as served, served.session.ws_connect(path) as socket:
        last = await socket.receive()

    assert (WSMsgType.CLOSE, WSCloseCode.OK) == (last.type, last.data)


@pytest.mark.parametrize("what", ["waits", "sends"])
@both_places
async def test_client_that_vanishes_is_no_error(path: str, what: str) -> None:
    """A client that drops the connection ends the view, without a word of error in the log."""
    app = Application()
    aio = AioHTTP(app)
    ended: list[str] = []

    async def talk() -> None:
        try:
            await aio.ws.send_str("hello")
            if what == "waits":
                async for _ in aio.ws:
                    pass
            else:
                while True:
                    await aio.ws.send_str("x" * 1000)
                    await asyncio.sleep(0)
        finally:
            ended.append(path)

    app.add_url_rule("/async", "async", websocket(talk))
    app.add_url_rule("/sync", "sync", websocket(lambda: await_(talk())))
    async with watched(app) as served:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{served.port}") as client:
            socket = await client.ws_connect(path)
            await socket.receive_str()
            transport = socket._response.connection.transport
            transport.abort()
            await eventually(lambda: ended, "the view's end")
            await socket.close()
        await eventually(lambda: not served.server.traffic.websockets, "the socket's end")

    assert [path] == ended
    assert [] == app.log.of("ERROR")
    assert [] == app.log.of("WARNING")


async def test_stop_of_the_server_closes_sockets() -> None:
    """A server that stops says so with 1001, and the view ends as with any close."""
    app = Flask(__name__)
    aio = AioHTTP(app)
    add_echoes(app, aio)
    types: list[WSMsgType] = []

    @app.route("/socket")
    @websocket
    async def view() -> None:
        types.append((await aio.ws.receive()).type)

    async with aiohttp.ClientSession() as client:
        async with serve(app) as served:
            sockets = [
                await client.ws_connect(f"http://127.0.0.1:{served.port}{path}")
                for path in ("/async", "/sync", "/socket")
            ]
            await eventually(lambda: len(served.server.traffic.websockets) == 3, "three sockets")
            reading = [asyncio.create_task(socket.receive()) for socket in sockets]
        codes = [message.data for message in await asyncio.gather(*reading)]
        for socket in sockets:
            await socket.close()

    assert [WSCloseCode.GOING_AWAY] * 3 == codes
    assert 1 == len(types)
    assert types[0] in (WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED)


async def test_message_that_is_too_large_closes_the_socket() -> None:
    """A message above the limit is refused with 1009, and is no error of the view."""
    app = Application()
    add_echoes(app, AioHTTP(app))

    async with (
        serve(app, websocket_max_message_size=1000, logger=app.log) as served,
        served.session.ws_connect("/async") as socket,
    ):
        await socket.send_str("x" * 999)
        allowed = len(await socket.receive_str())
        await socket.send_str("x" * 1001)
        last = await socket.receive()

    assert 999 == allowed
    assert (WSMsgType.CLOSE, WSCloseCode.MESSAGE_TOO_BIG) == (last.type, last.data)
    assert [] == app.log.of("ERROR")


@pytest.mark.parametrize(
    "field, value",
    [("Sec-WebSocket-Key", "short"), ("Sec-WebSocket-Key", None), ("Sec-WebSocket-Version", "12")],
)
async def test_malformed_handshake_is_a_bad_request(field: str, value: str | None) -> None:
    """A client that does not shake hands as RFC 6455 says gets 400, and the log no traceback."""
    app = Application()
    add_echoes(app, AioHTTP(app))
    headers = {name: text for name, text in HANDSHAKE.items() if name != field}
    if value is not None:
        headers[field] = value

    async with (
        serve(app, logger=app.log) as served,
        served.session.get("/async", headers=headers) as response,
    ):
        assert 400 == response.status
    assert [] == app.log.lines


async def test_server_of_somebody_elses_says_goodbye_too() -> None:
    """Under aiohttp's own runner an open websocket is closed with 1001, and its view ends."""
    app = Flask("elsewhere")
    aio = AioHTTP(app)
    ended = []

    @app.route("/echo")
    @websocket
    async def echo() -> None:
        async for message in aio.ws:
            await aio.ws.send_str(message.data)
        ended.append("echo")

    runner = web.AppRunner(app.aiohttp_app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    url = f"http://127.0.0.1:{port}/echo"
    async with aiohttp.ClientSession() as session, session.ws_connect(url) as socket:
        await socket.send_str("hello")
        assert "hello" == await socket.receive_str()
        cleanup = asyncio.create_task(runner.cleanup())
        message = await socket.receive()
        await cleanup

    assert WSMsgType.CLOSE is message.type
    assert WSCloseCode.GOING_AWAY == message.data
    assert ["echo"] == ended


class Log:
    """Keeps what the access log is told."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, int, bool]] = []

    def write(self, exchange: Any, request: Any, seconds: float) -> None:
        self.lines.append((exchange.status, exchange.sent, seconds > 0))

    def write_native(self, request: Any, response: Any, seconds: float) -> None: ...


@both_places
async def test_socket_is_one_line_of_the_access_log_at_its_end(path: str) -> None:
    """With 101, the bytes of all messages that were sent, and the time it was open."""
    app = Flask(__name__)
    add_echoes(app, AioHTTP(app))
    log = Log()

    async with serve(app, access_log=log) as served:
        async with served.session.ws_connect(path) as socket:
            for text in ("hello", "zw\u00f6lf"):
                await socket.send_str(text)
                assert text == await socket.receive_str()
            assert [] == log.lines
        await eventually(lambda: log.lines, "the line")

    assert [("101 Switching Protocols", 11, True)] == log.lines
