"""Server-sent events."""

from __future__ import annotations

import asyncio

import pytest
from flask import Flask, request
from harness import eventually, serve

from flask_aiohttp import AioHTTP, Event, InvalidResponse, await_, last_event_id, sse


@pytest.mark.parametrize(
    "event, lines",
    [
        (Event("hello"), "data: hello\n\n"),
        (Event("two\nlines"), "data: two\ndata: lines\n\n"),
        (Event("a\r\nb\rc"), "data: a\ndata: b\ndata: c\n\n"),
        (Event(""), "data: \n\n"),
        (Event({"n": 1}), 'data: {"n": 1}\n\n'),
        (
            Event("x", event="tick", id="7", retry=500),
            "event: tick\nid: 7\nretry: 500\ndata: x\n\n",
        ),
        (Event(retry=10), "retry: 10\n\n"),
    ],
)
def test_event_is_written_as_the_standard_says(event, lines):
    """Each field has its line, and an empty line ends the event."""
    assert lines == event.encode()


@pytest.mark.parametrize("field", ["event", "id"])
@pytest.mark.parametrize("value", ["a\nb", "a\rb", "a\0b"])
def test_field_that_would_end_its_line_is_refused(field, value):
    """What a client has sent cannot forge fields or events."""
    with pytest.raises(InvalidResponse, match=field):
        Event("x", **{field: value}).encode()


@pytest.fixture(name="app")
def _app():
    app = Flask("sse")
    app.extensions["closed"] = closed = []
    AioHTTP(app)

    async def numbers():
        try:
            for number in range(3):
                yield Event({"path": request.path, "n": number}, id=str(number))
        finally:
            closed.append(request.path)

    @app.get("/async")
    async def from_async():
        return sse(numbers())

    @app.get("/sync-view")
    def from_sync_view():
        return sse(numbers())

    @app.get("/plain")
    async def from_plain():
        def events():
            for number in range(3):
                await_(asyncio.sleep(0))
                yield {"path": request.path, "n": number}

        return sse(events())

    @app.get("/quiet")
    async def quiet():
        async def silence():
            try:
                await asyncio.Event().wait()
                yield "never"
            finally:
                closed.append(request.path)

        return sse(silence(), keepalive=0.01)

    @app.get("/broken")
    async def broken():
        async def events():
            yield "first"
            raise RuntimeError("broken")

        return sse(events())

    @app.get("/resume")
    async def resume():
        return sse([last_event_id()])

    return app


@pytest.mark.parametrize("path", ["/async", "/sync-view", "/plain"])
async def test_events_arrive_with_the_headers_that_keep_proxies_from_collecting(app, path):
    """Async and plain iterables are sent as events, with the request's context kept."""
    async with serve(app) as served, served.session.get(path) as response:
        text = await response.text()

    expected = [f'data: {{"path": "{path}", "n": {number}}}' for number in range(3)]
    assert expected == [line for line in text.splitlines() if line.startswith("data")]
    assert "text/event-stream; charset=utf-8" == response.headers["Content-Type"]
    assert "no-cache" == response.headers["Cache-Control"]
    assert "no" == response.headers["X-Accel-Buffering"]


async def test_silence_is_filled_with_comments_until_the_client_goes(app):
    """A quiet stream sends comments, and is closed when its client has gone."""
    async with serve(app) as served:
        async with served.session.get("/quiet") as response:
            assert b": keepalive\n" == await response.content.readline()
            response.close()
        await eventually(lambda: app.extensions["closed"], "the generator's end")

    assert ["/quiet"] == app.extensions["closed"]


async def test_error_of_the_events_ends_the_stream_and_is_logged(app, caplog):
    """What was sent before the error arrives, and the log has its traceback."""
    async with serve(app) as served, served.session.get("/broken") as response:
        assert b"data: first\n" == await response.content.readline()
        await eventually(lambda: "RuntimeError: broken" in caplog.text, "the traceback")


async def test_client_that_comes_back_tells_the_last_event(app):
    """``last_event_id()`` is what the browser sends when it reconnects."""
    headers = {"Last-Event-ID": "41"}
    async with serve(app) as served, served.session.get("/resume", headers=headers) as response:
        assert "data: 41\n\n" == await response.text()


async def test_events_may_come_from_synchronous_code_that_waits(app):
    """Below a generator with keepalive, synchronous code may wait as everywhere in a request."""

    @app.get("/nested")
    async def nested():
        def work():
            return await_(asyncio.sleep(0, "waited"))

        async def events():
            yield work()

        return sse(events())

    async with serve(app) as served, served.session.get("/nested") as response:
        assert "data: waited\n\n" == await response.text()
