"""Requests to native aiohttp routes stand in the access log, each request once."""

from __future__ import annotations

import aiohttp
from aiohttp import web
from flask import Flask
from harness import connect, eventually, serve

from flask_aiohttp import AioHTTP
from flask_aiohttp._exchange import Exchange


class Log:
    """Keeps what it is given."""

    def __init__(self) -> None:
        self.entries: list[tuple[str, str, str]] = []

    def write(self, exchange: Exchange, request: web.BaseRequest, seconds: float) -> None:
        self.entries.append(("flask", request.path, exchange.status))

    def write_native(
        self, request: web.BaseRequest, response: web.StreamResponse, seconds: float
    ) -> None:
        assert seconds >= 0
        self.entries.append(("native", request.path, str(response.status)))


def application() -> web.Application:
    """An application with native routes beside Flask's."""
    app = Flask(__name__)
    AioHTTP(app)
    app.add_url_rule("/flask", view_func=lambda: "flask")

    async def native(request: web.Request) -> web.Response:
        if "fail" in request.query:
            raise ValueError("on purpose")
        return web.Response(text="native")

    async def socket(request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse()
        await ws.prepare(request)
        async for message in ws:
            await ws.send_str(message.data)
        return ws

    app.aiohttp_app.router.add_get("/native", native)
    app.aiohttp_app.router.add_get("/socket", socket)
    return app.aiohttp_app


async def test_each_request_is_logged_once() -> None:
    """Flask's own by its exchange, the others when aiohttp has answered; failures too."""
    log = Log()
    async with serve(application(), access_log=log) as served:
        for path in ("/flask", "/native", "/missing", "/native?fail"):
            async with served.session.get(path) as response:
                await response.read()
        await eventually(lambda: len(log.entries) >= 4, "four entries")

    assert [
        ("flask", "/flask", "200 OK"),
        ("native", "/native", "200"),
        ("flask", "/missing", "404 NOT FOUND"),
        ("native", "/native", "500"),
    ] == log.entries


async def test_a_native_websocket_is_logged_at_its_end() -> None:
    """Not while it is open."""
    log = Log()
    async with serve(application(), access_log=log) as served:
        async with served.session.ws_connect("/socket") as ws:
            await ws.send_str("hello")
            await ws.receive_str()
            early = list(log.entries)
        await eventually(lambda: log.entries, "the entry")

    assert [] == early
    assert [("native", "/socket", "101")] == log.entries


async def test_what_is_no_request_is_not_logged_as_one() -> None:
    """aiohttp would call it "UNKNOWN /"; the error log has its line."""
    log = Log()
    async with serve(application(), access_log=log) as served:
        reader, writer = await connect(served, b"nonsense\r\n\r\n")
        answer = await reader.read()
        writer.close()
        async with aiohttp.request("GET", f"http://127.0.0.1:{served.port}/native") as response:
            await response.read()
        await eventually(lambda: log.entries, "an entry")

    assert b" 400 " in answer
    assert [("native", "/native", "200")] == log.entries
