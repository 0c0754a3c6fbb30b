"""Each kind of stream, from each kind of view, in each form of an answer, to each kind of end."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import aiohttp
import pytest
from flask import Flask, Response, g, request, stream_with_context
from harness import connect, eventually, get, serve

from flask_aiohttp import AioHTTP, await_

PLACES = ("loop", "thread")
FORMS = ("bare", "tuple", "response")


class Source:
    """Makes streams that yield "0 ada", "1 ada", "2 ada"; after the first one they may fail."""

    def __init__(self) -> None:
        self.log: list[str] = []

        # True once a stream waits for what does not come.
        self.waits = False

    async def piece(self, number: int) -> str:
        await asyncio.sleep(0)
        if number and request.args["end"] == "left":
            self.waits = True
            await asyncio.Event().wait()
        if number and request.args["end"] == "error":
            raise LookupError("broken")
        return f"{number} {g.name}\n"

    async def generator(self) -> AsyncIterator[str]:
        try:
            for number in range(3):
                yield await self.piece(number)
        finally:
            await asyncio.sleep(0)
            self.log.append("closed")

    def iterable(self) -> Any:
        source = self

        class Iterable:
            def __aiter__(self) -> AsyncIterator[str]:
                return source.generator()

        return Iterable()

    def iterator(self) -> Any:
        source = self

        class Iterator:
            def __init__(self) -> None:
                self.numbers = iter(range(3))

            def __aiter__(self) -> Any:
                return self

            async def __anext__(self) -> str:
                for number in self.numbers:
                    return await source.piece(number)
                raise StopAsyncIteration

            async def aclose(self) -> None:
                await asyncio.sleep(0)
                source.log.append("closed")

        return Iterator()

    def synchronous(self) -> Any:
        def generator() -> Iterator[str]:
            try:
                for number in range(3):
                    yield await_(self.piece(number))
            finally:
                await_(asyncio.sleep(0))
                self.log.append("closed")

        return stream_with_context(generator())


KINDS: dict[str, Callable[[Source], Any]] = {
    "generator": Source.generator,
    "iterable": Source.iterable,
    "iterator": Source.iterator,
    "synchronous": Source.synchronous,
}
ways = pytest.mark.parametrize(
    ("place", "kind", "form"), list(itertools.product(PLACES, KINDS, FORMS))
)


def an_app(source: Source) -> Flask:
    """Return an application with a view for each way."""
    app = Flask("stream_ways")
    AioHTTP(app)

    def answer(kind: str, form: str) -> Any:
        g.name = "ada"
        stream = KINDS[kind](source)
        if form == "bare":
            return stream
        return (stream, 201) if form == "tuple" else Response(stream, status=202)

    @app.get("/loop/<kind>/<form>")
    async def on_the_loop(kind: str, form: str) -> Any:
        await asyncio.sleep(0)
        return answer(kind, form)

    @app.get("/thread/<kind>/<form>")
    def in_a_thread(kind: str, form: str) -> Any:
        return answer(kind, form)

    @app.teardown_request
    def teardown(error: BaseException | None) -> None:
        source.log.append(f"teardown {type(error).__name__}")

    return app


def once(log: list[str], kind: str, error: str) -> list[str]:
    """Return what the log has to be: closed, then torn down.

    Flask's own ``stream_with_context()`` tears down at the end of the view too, before the stream.
    """
    early = ["teardown NoneType"] if kind == "synchronous" and log[:1] != ["closed"] else []
    return [*early, "closed", log[-1] if kind == "synchronous" else f"teardown {error}"]


@ways
async def test_a_stream_arrives_whole_with_its_context(place: str, kind: str, form: str) -> None:
    """It is closed once at its end, then its request is torn down."""
    source = Source()
    path = f"/{place}/{kind}/{form}?end=whole"
    async with serve(an_app(source)) as served, served.session.get(path) as response:
        text = await response.text()

    assert "0 ada\n1 ada\n2 ada\n" == text
    assert {"bare": 200, "tuple": 201, "response": 202}[form] == response.status
    assert once(source.log, kind, "NoneType") == source.log
    assert source.log[-1].startswith("teardown")


@ways
async def test_a_stream_that_is_left_is_closed(place: str, kind: str, form: str) -> None:
    """In the middle of its wait; its request is torn down once, after that."""
    source = Source()
    async with serve(an_app(source)) as served:
        reader, writer = await connect(served, get(f"/{place}/{kind}/{form}?end=left"))
        await reader.readuntil(b"0 ada")
        await eventually(lambda: source.waits, "the stream to wait")
        writer.close()
        await eventually(lambda: not served.server.traffic.in_flight, "the request's end")
        await eventually(lambda: source.log[-2:-1] == ["closed"], "the teardown")

    assert once(source.log, kind, "CancelledError") == source.log


@ways
async def test_a_stream_that_fails_is_cut(
    place: str, kind: str, form: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The client sees that something is missing, the log says what, the teardown is told."""
    source = Source()
    async with serve(an_app(source)) as served:
        async with served.session.get(f"/{place}/{kind}/{form}?end=error") as response:
            with pytest.raises(aiohttp.ClientPayloadError):
                await response.read()
        await eventually(lambda: not served.server.traffic.in_flight, "the request's end")

    assert once(source.log, kind, "LookupError") == source.log
    assert 1 == caplog.text.count("LookupError: broken")
