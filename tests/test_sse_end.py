"""Streams of events end: with their client, with their server, whatever they wait for."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from flask import Flask, Response
from harness import PATIENCE, Served, connect, eventually, get, serve

from flask_aiohttp import AioHTTP, await_, sse
from flask_aiohttp._traffic import Traffic

# Where the view runs, what it is given, and the seconds between two comments.
WAYS = [
    f"/{place}/{source}/{keepalive}"
    for place in ("loop", "thread")
    for source in ("async", "plain")
    for keepalive in ("none", "15")
]
ASYNC_WAYS = [way for way in WAYS if "/async/" in way]
PLAIN_WAYS = [way for way in WAYS if "/plain/none" in way]


class Events:
    """Yields "first", then waits for its release, then yields "last" and goes on."""

    def __init__(self) -> None:
        self.release = asyncio.Event()
        self.log: list[str] = []

    async def wait(self) -> None:
        self.log.append("waits")
        try:
            await self.release.wait()
        finally:
            self.log.append("waits no more")

    async def as_async(self) -> AsyncIterator[str]:
        try:
            yield "first"
            await self.wait()
            yield "last"
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            self.log.append("closed")

    def as_plain(self) -> Iterator[str]:
        try:
            yield "first"
            await_(self.wait())
            yield "last"
            await_(asyncio.Event().wait())
        finally:
            await_(asyncio.sleep(0))
            self.log.append("closed")


def an_app(events: Events) -> Flask:
    """Return an application with a view for each of WAYS."""
    app = Flask("sse_end")
    AioHTTP(app)

    def answer(source: str, keepalive: str) -> Response:
        seconds = None if keepalive == "none" else float(keepalive)
        return sse(events.as_async() if source == "async" else events.as_plain(), keepalive=seconds)

    @app.get("/loop/<source>/<keepalive>")
    async def on_the_loop(source: str, keepalive: str) -> Response:
        return answer(source, keepalive)

    @app.get("/thread/<source>/<keepalive>")
    def in_a_thread(source: str, keepalive: str) -> Response:
        return answer(source, keepalive)

    return app


async def first_event(served: Served, way: str, events: Events) -> Any:
    """Open a stream, and return its connection when the first event has come."""
    reader, writer = await connect(served, get(way))
    await reader.readuntil(b"data: first\n\n")
    await eventually(lambda: events.log, "the wait for the next event")
    return reader, writer


async def nothing_is_left(served: Served) -> None:
    """Wait until no request, no task and no entry among the endless streams is left."""
    traffic: Traffic = served.server.traffic
    await eventually(lambda: not traffic.in_flight, "the request's end")
    await eventually(lambda: not traffic.endless, "the stream to be forgotten")

    def pumps() -> list[Any]:
        return [t for t in asyncio.all_tasks() if t.get_name() == "server-sent events"]

    await eventually(lambda: not pumps(), "the stream's task to end")


@pytest.mark.parametrize("way", WAYS)
async def test_stream_ends_at_once_when_its_client_goes(
    way: str, caplog: pytest.LogCaptureFixture
) -> None:
    """In the middle of a wait, with and without comments; one line of the log tells of it."""
    caplog.set_level(logging.INFO)
    events = Events()
    async with serve(an_app(events)) as served:
        _, writer = await first_event(served, way, events)
        writer.close()
        await eventually(lambda: "closed" in events.log, "the events' end")
        await nothing_is_left(served)

    assert ["waits", "waits no more", "closed"] == events.log
    assert 1 == caplog.text.count("the client closed the connection")
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize("way", ASYNC_WAYS)
async def test_stream_ends_whole_when_the_server_stops(
    way: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The client gets an orderly end and may come back at once; the stop waits for nothing."""
    events = Events()
    async with serve(an_app(events)) as served:
        reader, writer = await first_event(served, way, events)
        await asyncio.wait_for(served.server.stop(1000.0), PATIENCE)
        rest = await reader.read()
        writer.close()
        await nothing_is_left(served)

    assert b"\r\n0\r\n\r\n" == rest
    assert ["waits", "waits no more", "closed"] == events.log
    assert [] == caplog.records


@pytest.mark.parametrize("way", PLAIN_WAYS)
async def test_plain_stream_ends_after_the_event_under_way(way: str) -> None:
    """Synchronous code cannot be interrupted: it is closed when it yields next."""
    events = Events()
    async with serve(an_app(events)) as served:
        reader, writer = await first_event(served, way, events)
        stop = asyncio.create_task(served.server.stop(1000.0))
        await eventually(lambda: served.server.traffic.closing, "the stop")
        events.release.set()
        rest = await reader.read()
        writer.close()
        await asyncio.wait_for(stop, PATIENCE)

    assert b"data: last" in rest
    assert rest.endswith(b"\r\n0\r\n\r\n")
    assert ["waits", "waits no more", "closed"] == events.log


@pytest.mark.parametrize("way", ASYNC_WAYS)
async def test_stream_that_begins_during_a_stop_ends_at_once(way: str) -> None:
    """A request that came just in time for the stop does not hold it."""
    events = Events()
    async with serve(an_app(events)) as served:
        served.server.traffic.close()
        reader, writer = await connect(served, get(way))
        answer = await reader.read()
        writer.close()
        await nothing_is_left(served)

    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert b"Connection: close" in answer


async def test_what_an_event_stream_raises_while_the_server_stops_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The end by the stop hides no error of the application."""
    app = Flask("failing")
    AioHTTP(app)
    waits = asyncio.Event()

    @app.get("/")
    async def failing() -> Response:
        async def events() -> AsyncIterator[str]:
            yield "first"
            try:
                waits.set()
                await asyncio.Event().wait()
            finally:
                raise LookupError("cannot clean up")

        return sse(events())

    async with serve(app) as served:
        _, writer = await connect(served, get("/"))
        await waits.wait()
        await asyncio.wait_for(served.server.stop(1000.0), PATIENCE)
        writer.close()

    assert "LookupError: cannot clean up" in caplog.text
