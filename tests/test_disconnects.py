"""Clients that leave, stand still, or say no more."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
import time

import pytest
from flask import Flask, Response, request, stream_with_context
from harness import connect, eventually, get, serve

from flask_aiohttp import AioHTTP, await_, cancel_on_disconnect, has_client, sse


@pytest.fixture(name="app")
def _app():
    """Return an application that writes down how its views end."""
    app = Flask("disconnects")
    app.extensions["log"] = log = []
    app.extensions["release"] = release = threading.Event()
    AioHTTP(app)

    @app.get("/quiet")
    async def quiet_stream():
        async def pieces():
            try:
                yield "first\n"
                await asyncio.Event().wait()
            finally:
                log.append("stream closed")

        return pieces()

    @app.get("/quiet-sync")
    def quiet_sync_stream():
        def pieces():
            try:
                yield "first\n"
                await_(asyncio.Event().wait())
            finally:
                log.append("stream closed")

        return Response(pieces())

    @app.get("/long")
    async def long_view():
        log.append("started")
        try:
            await asyncio.to_thread(release.wait)
        except asyncio.CancelledError:
            log.append("cancelled")
            raise
        log.append(f"finished, client: {has_client()}")
        return "answer"

    @app.get("/cancelled")
    @cancel_on_disconnect
    async def cancelled_view():
        log.append("started")
        try:
            await asyncio.Event().wait()
        finally:
            log.append("ended")

    @app.get("/cancelled-sync")
    @cancel_on_disconnect
    def cancelled_sync_view():
        log.append("started")
        try:
            await_(asyncio.Event().wait())
        finally:
            log.append("ended")

    @app.post("/upload")
    async def upload():
        return str(len(request.get_data()))

    @app.post("/upload-sync")
    def upload_sync():
        return str(len(request.get_data()))

    @app.get("/big")
    async def big():
        async def pieces():
            try:
                while True:
                    yield b"x" * 65536
            finally:
                log.append("stream closed")

        return pieces()

    @app.get("/")
    async def index():
        return "here"

    yield app
    release.set()


@pytest.mark.parametrize("path", ["/quiet", "/quiet-sync"])
async def test_stream_is_closed_at_once_when_its_client_leaves(app, path, caplog):
    """A stream that waits for something else learns that its client has gone."""
    caplog.set_level(logging.INFO)
    log = app.extensions["log"]
    async with serve(app) as served:
        reader, writer = await connect(served, get(path))
        await reader.readuntil(b"first\n")
        writer.close()
        await eventually(lambda: log, "the stream's end")
        await eventually(lambda: not served.server.traffic.in_flight, "the request's end")

    assert ["stream closed"] == log
    assert f"GET {path}: the client closed the connection" in caplog.text
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize("path", ["/cancelled", "/cancelled-sync"])
async def test_view_that_asks_for_it_is_cancelled_when_its_client_leaves(app, path, caplog):
    """``@cancel_on_disconnect`` cancels the view where it waits."""
    log = app.extensions["log"]
    async with serve(app, disconnect_grace=0.0) as served:
        _, writer = await connect(served, get(path))
        await eventually(lambda: log == ["started"], "the view")
        writer.close()
        await eventually(lambda: log == ["started", "ended"], "the view's end")

    assert "Traceback" not in caplog.text


async def test_every_view_is_cancelled_where_the_configuration_says_so(app):
    """``AIOHTTP_CANCEL_ON_DISCONNECT`` cancels each view whose client leaves."""
    app.config["AIOHTTP_CANCEL_ON_DISCONNECT"] = True
    log = app.extensions["log"]
    async with serve(app, disconnect_grace=0.0) as served:
        _, writer = await connect(served, get("/long"))
        await eventually(lambda: log == ["started"], "the view")
        writer.close()
        await eventually(lambda: log[-1] == "cancelled", "the view's end")
        app.extensions["release"].set()

    assert ["started", "cancelled"] == log


async def test_view_goes_on_when_its_client_leaves(app):
    """By default nothing is lost: the view ends by itself, and can ask for its client."""
    log = app.extensions["log"]
    async with serve(app) as served:
        _, writer = await connect(served, get("/long"))
        await eventually(lambda: log == ["started"], "the view")
        [exchange] = served.server.traffic.in_flight.values()
        writer.close()
        await eventually(lambda: exchange.client.left, "the server to notice")
        app.extensions["release"].set()
        await eventually(lambda: len(log) == 2, "the view's end")

    assert ["started", "finished, client: False"] == log


async def test_client_that_half_closes_gets_its_answer(app):
    """A client that has said all it wants to say still reads the answer."""
    async with serve(app) as served:
        reader, writer = await connect(served, get("/"))
        writer.write_eof()
        answer = await reader.read()
        writer.close()

    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert answer.endswith(b"here")


async def test_client_that_half_closes_while_the_view_works_gets_its_answer(app):
    """The answer comes, and the connection ends after it."""
    log = app.extensions["log"]
    async with serve(app) as served:
        reader, writer = await connect(served, get("/long"))
        await eventually(lambda: log == ["started"], "the view")
        [exchange] = served.server.traffic.in_flight.values()
        writer.write_eof()
        await eventually(lambda: exchange.client.left, "the server to notice")
        app.extensions["release"].set()
        answer = await reader.read()
        writer.close()

    assert answer.endswith(b"answer")


async def test_idle_connection_ends_when_its_client_says_so(app):
    """A kept-alive connection whose client closes its side is closed."""
    async with serve(app) as served:
        reader, writer = await connect(served, get("/"))
        await reader.readuntil(b"here")
        writer.write_eof()

        assert b"" == await reader.read()
        writer.close()


@pytest.mark.parametrize("path", ["/upload", "/upload-sync"])
@pytest.mark.parametrize("length", [100, 1_000_000])
async def test_body_that_stops_arriving_is_answered_with_408(app, path, length):
    """A body of which nothing comes for too long ends in 408 and a close."""
    app.config["AIOHTTP_BODY_TIMEOUT"] = 0.05
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\nstart"
    async with serve(app) as served:
        reader, writer = await connect(served, head.encode())
        answer = await reader.readuntil(b"\r\n\r\n")
        writer.close()

    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"Connection: close" in answer


@pytest.mark.parametrize("path", ["/upload", "/upload-sync"])
@pytest.mark.parametrize("length", [100, 1_000_000])
async def test_client_that_leaves_in_mid_body_is_one_line_of_the_log(app, path, length, caplog):
    """A body cut short is no body, and no traceback."""
    caplog.set_level(logging.INFO)
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\nstart"
    async with serve(app) as served:
        _, writer = await connect(served, head.encode())
        await eventually(lambda: served.server.traffic.in_flight, "the request")
        writer.close()
        await eventually(lambda: not served.server.traffic.in_flight, "the request's end")
        async with served.session.get("/") as response:
            assert "here" == await response.text()

    assert "Traceback" not in caplog.text


async def test_answer_that_is_not_read_ends_the_request(app):
    """A client that reads nothing for too long is given up."""
    app.config["AIOHTTP_SEND_TIMEOUT"] = 0.05
    log = app.extensions["log"]
    async with serve(app) as served:
        with socket.create_connection(("127.0.0.1", served.port)) as client:
            client.sendall(get("/big"))
            await eventually(lambda: log, "the stream's end")
        await eventually(lambda: not served.server.traffic.in_flight, "the request's end")

    assert ["stream closed"] == log


@pytest.mark.parametrize("path", ["/cleaning", "/cleaning-sync"])
async def test_stream_that_is_closed_can_wait_to_clean_up(app, path):
    """``finally`` blocks and async teardown functions of an abandoned stream may wait."""
    log = app.extensions["log"]

    async def release(what):
        await asyncio.sleep(0)
        log.append(what)

    def pieces():
        try:
            yield "first\n"
            await_(asyncio.Event().wait())
        finally:
            await_(release("released"))

    @app.get("/cleaning-sync")
    def cleaning_sync():
        return sse(pieces())

    @app.get("/cleaning")
    async def cleaning():
        return sse(pieces())

    @app.teardown_request
    async def teardown(error):
        await release("torn down")

    async with serve(app) as served:
        reader, writer = await connect(served, get(path))
        await reader.readuntil(b"first")
        writer.close()
        await eventually(lambda: len(log) == 2, "the cleaning up")

    assert ["released", "torn down"] == log


async def test_sync_stream_that_asks_for_its_client_ends_without_it(app):
    """``has_client()`` stays False: a thread that looks at it is not lost."""
    log = app.extensions["log"]

    @app.get("/asking")
    def asking():
        def pieces():
            yield "first\n"
            while has_client():
                time.sleep(0.001)
            log.append("ended")

        return Response(stream_with_context(pieces()))

    async with serve(app) as served:
        reader, writer = await connect(served, get("/asking"))
        await reader.readuntil(b"first")
        writer.close()
        await eventually(lambda: log, "the stream's end")

    assert ["ended"] == log


async def test_long_sync_view_that_asks_for_its_client_ends_without_it(app):
    """A thread that works for nobody can find out, without waiting for anything."""
    log = app.extensions["log"]

    @app.get("/working")
    def working():
        log.append("started")
        while has_client():
            time.sleep(0.001)
        log.append("ended")
        return "for nobody"

    async with serve(app) as served:
        _, writer = await connect(served, get("/working"))
        await eventually(lambda: log, "the view")
        writer.close()
        await eventually(lambda: log[1:], "the view's end")

    assert ["started", "ended"] == log


async def test_pipelined_requests_are_all_answered_after_a_half_close(app):
    """What was asked before the client closed its side is answered, in order."""
    async with serve(app) as served:
        reader, writer = await connect(served, get("/") + get("/"))
        writer.write_eof()
        answers = await reader.read()
        writer.close()

    assert 2 == answers.count(b"here")
