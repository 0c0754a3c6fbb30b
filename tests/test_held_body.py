"""Async iterables as answers, and the context that they keep."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest
from flask import Flask, Response, current_app, g, request, session
from harness import eventually, serve

from flask_aiohttp import AioHTTP


@pytest.fixture(name="log")
def _log() -> list[str]:
    return []


@pytest.fixture(name="app")
def _app(log):
    """Return an application whose streams and teardowns write to the log."""
    app = Flask("held")
    app.secret_key = "secret"
    AioHTTP(app)

    async def pieces(count=3):
        g.name = request.args.get("name", "nobody")
        try:
            for number in range(count):
                await asyncio.sleep(0)
                yield f"{number} {g.name} {request.path}\n"
        finally:
            log.append(f"closed {request.path} {current_app.name}")

    @app.get("/view")
    async def view():
        async for piece in pieces():
            yield piece

    @app.get("/returned")
    async def returned():
        return pieces()

    @app.get("/tuple")
    def in_a_tuple():
        return pieces(), 201, {"X-Kind": "tuple"}

    @app.get("/response")
    def in_a_response():
        return Response(pieces(), mimetype="text/plain")

    @app.get("/session")
    async def with_session():
        session["seen"] = True
        return pieces()

    @app.get("/hook")
    async def hook():
        raise AssertionError("a hook answers")

    @app.before_request
    async def answer_in_the_hook():
        return pieces() if request.path == "/hook" else None

    @app.get("/dropped")
    async def dropped():
        return pieces()

    @app.after_request
    def drop(response):
        return Response("instead") if request.path == "/dropped" else response

    @app.get("/broken")
    async def broken():
        yield "a"
        raise RuntimeError("broken in mid-stream")

    @app.get("/broken-at-once")
    async def broken_at_once():
        if request.path:
            raise RuntimeError("broken before the first piece")
        yield "never"

    @app.get("/endless")
    async def endless():
        return pieces(10**9)

    @app.teardown_request
    def teardown_request(error):
        log.append(f"teardown {request.path} {error}")

    @app.teardown_appcontext
    def teardown_appcontext(error):
        log.append(f"appcontext {error}")

    return app


@pytest.mark.parametrize("path", ["/view", "/returned", "/tuple", "/response", "/session", "/hook"])
async def test_async_iterable_is_streamed_with_its_context(app, log, path):
    """A view may be, return or wrap an async generator; it keeps request, g and current_app."""
    async with serve(app) as served, served.session.get(f"{path}?name=ada") as response:
        text = await response.text()

    assert "".join(f"{number} ada {path}\n" for number in range(3)) == text
    assert [f"closed {path} held", f"teardown {path} None", "appcontext None"] == log
    assert (201 if path == "/tuple" else 200) == response.status


async def test_stream_behaves_alike_under_flasks_test_client(app, log):
    """The same stream is closed and torn down once under ``test_client()``."""
    response = await asyncio.to_thread(app.test_client().get, "/view?name=ada", buffered=True)

    assert "0 ada /view\n1 ada /view\n2 ada /view\n" == response.text
    assert ["closed /view held", "teardown /view None", "appcontext None"] == log


async def test_error_in_mid_stream_truncates_the_answer_and_reaches_the_teardown(app, log):
    """A stream that fails is cut, so that the client cannot take it for whole."""
    async with serve(app) as served:
        with pytest.raises(aiohttp.ClientPayloadError):
            async with served.session.get("/broken") as response:
                await response.read()

    assert ["teardown /broken broken in mid-stream", "appcontext broken in mid-stream"] == log


async def test_error_before_the_first_piece_is_answered_with_500(app, log):
    """A stream that fails before anything was sent has an answer."""
    async with serve(app) as served, served.session.get("/broken-at-once") as response:
        assert 500 == response.status

    assert "teardown /broken-at-once broken before the first piece" == log[0]


async def test_stream_that_a_hook_replaces_holds_no_context(app, log):
    """A body that never reaches the client does not keep the request's context."""
    async with serve(app) as served, served.session.get("/dropped") as response:
        assert "instead" == await response.text()

    assert ["teardown /dropped None", "appcontext None"] == log


async def test_head_request_closes_the_stream_unread(app, log):
    """HEAD sends no piece and still tears down once."""
    async with serve(app) as served, served.session.head("/view") as response:
        assert 200 == response.status

    assert ["teardown /view None", "appcontext None"] == log


async def test_client_that_leaves_ends_the_stream(app, log):
    """A stream whose client has gone is closed and torn down."""
    async with serve(app) as served:
        async with served.session.get("/endless") as response:
            await response.content.readline()
            response.close()
        await eventually(lambda: len(log) == 3, "the teardown")

    assert "closed /endless held" == log[0]
    assert log[1].startswith("teardown /endless ")
