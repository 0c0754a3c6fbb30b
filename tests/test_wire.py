"""Answers that cannot go as planned, seen from the wire."""

from __future__ import annotations

import asyncio
import sys

import pytest
from flask import Flask, request
from harness import connect, get, serve

from flask_aiohttp import AioHTTP


@pytest.fixture(name="app")
def _app():
    app = Flask("wire")
    AioHTTP(app)

    @app.get("/")
    async def index():
        return "here"

    return app


async def test_continue_is_not_sent_into_the_middle_of_an_answer():
    """A client is not asked for its body any more once the answer has begun."""

    def application(environ, start_response):
        start_response("200 OK", [])
        yield b"first"
        environ["wsgi.input"].read(1)
        yield b"last"

    head = b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n"
    async with serve(application) as served:
        reader, writer = await connect(served, head)
        await reader.readuntil(b"first\r\n")
        writer.write(b"x")
        answer = await reader.read()
        writer.close()

    assert answer.startswith(b"4\r\nlast\r\n0\r\n\r\n")


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.10 cannot tell the two apart")
async def test_cancellation_of_what_a_view_awaits_is_an_error_of_the_view(app, caplog):
    """A view in which another task's cancellation comes up is answered with 500, and logged."""

    @app.get("/inner")
    async def inner():
        task = asyncio.ensure_future(asyncio.sleep(9))
        task.cancel()
        await task

    async with serve(app) as served, served.session.get("/inner") as response:
        assert 500 == response.status

    assert "Error handling request GET /inner" in caplog.text


async def test_answer_of_http_1_0_that_fails_does_not_look_whole():
    """A body that ends with its connection is reset when it fails, not closed in peace."""

    def application(environ, start_response):
        start_response("200 OK", [])
        yield b"first"
        raise RuntimeError("failed")

    async with serve(application) as served:
        reader, writer = await connect(served, b"GET / HTTP/1.0\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            await reader.read()
        writer.close()


async def test_what_is_no_request_is_one_line_of_the_log(app, caplog):
    """Nobody can fill the log with tracebacks, and the answer tells no versions."""
    async with serve(app) as served:
        reader, writer = await connect(served, b"NONSENSE\r\n\r\n")
        answer = await reader.read()
        writer.close()

    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"Python" not in answer
    assert ["WARNING"] == [record.levelname for record in caplog.records]
    assert "Invalid request from ip=127.0.0.1: " in caplog.text


async def test_path_outside_of_script_name_is_a_request_like_others(app):
    """It is answered with 500 by this server, counted, and its connection is not used again."""
    body = b"POST /no HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    async with serve(app, script_name="/shop") as served:
        reader, writer = await connect(served, body + get("/shop/"))
        answer = await reader.read()
        writer.close()
        total = served.server.traffic.total

    assert 1 == answer.count(b"HTTP/1.1 ")
    assert answer.startswith(b"HTTP/1.1 500 ")
    assert b"\r\nServer: flask-aiohttp-worker\r\n" in answer
    assert 1 == total


@pytest.mark.parametrize("kind", ["plain", "flask"])
async def test_early_hints_go_out_before_the_answer(kind):
    """``wsgi.early_hints`` sends 103 before the answer, and nothing after it has begun."""
    hints = [("Link", "</style.css>; rel=preload")]

    def application(environ, start_response):
        environ["wsgi.early_hints"](hints)
        start_response("200 OK", [("Content-Length", "4")])
        environ["wsgi.early_hints"](hints)
        yield b"he"
        environ["wsgi.early_hints"](hints)
        yield b"re"

    flask_app = Flask("hints")
    AioHTTP(flask_app)

    @flask_app.get("/")
    async def index():
        request.environ["wsgi.early_hints"](hints)
        return "here"

    async with serve(application if kind == "plain" else flask_app) as served:
        reader, writer = await connect(served, get("/"))
        answer = await reader.readuntil(b"here")
        writer.close()

    hint = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n"
    assert answer.startswith(hint)
    assert (2 if kind == "plain" else 1) == answer.count(hint)
    assert answer.partition(b"HTTP/1.1 200 OK")[2].endswith(b"\r\n\r\nhere")


async def test_early_hints_cannot_split_the_answer(caplog):
    """A line end in a hint is refused, and nothing of it is sent."""

    def application(environ, start_response):
        environ["wsgi.early_hints"]([("Link", "x\r\nSet-Cookie: stolen")])

    async with serve(application) as served:
        reader, writer = await connect(served, get("/"))
        answer = await reader.read()
        writer.close()

    assert answer.startswith(b"HTTP/1.1 500 ")
    assert "control character" in caplog.text
    assert b"stolen" not in answer
