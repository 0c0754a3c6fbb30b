"""A stop that waits for what it should, and for nothing else."""

from __future__ import annotations

import asyncio
import logging

from aiohttp import web
from flask import Flask
from harness import eventually, serve

from flask_aiohttp import AioHTTP


async def test_stop_waits_for_a_native_request():
    """A request of aiohttp's own routes is finished like any other, and counted."""
    app = Flask("native")
    AioHTTP(app)
    release = asyncio.Event()

    async def native(_: web.Request) -> web.Response:
        await release.wait()
        return web.Response(text="native")

    app.aiohttp_app.router.add_get("/native", native)
    async with serve(app) as served:
        request = asyncio.create_task(served.session.get("/native"))
        await eventually(lambda: served.server.traffic.in_flight, "the request")
        stop = asyncio.create_task(served.server.stop(5.0))
        await eventually(lambda: served.server.traffic.closing, "the stop")
        release.set()
        async with await request as response:
            assert "native" == await response.text()
        await stop

        assert 1 == served.server.traffic.total


async def test_hook_that_hangs_does_not_hold_the_stop(caplog):
    """A stop's hook has until ``graceful_timeout``; then it is left, and the log says so."""
    app = Flask("hanging")
    aio = AioHTTP(app)
    ended = []

    @aio.on_shutdown
    async def hang():
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("hang")

    async with serve(app, graceful_timeout=0.1):
        pass

    assert ["hang"] == ended
    assert "The hooks of the stop did not end in time" in caplog.text


async def test_hurry_reaches_a_stop_that_waits_for_background_tasks(caplog):
    """A second, quick stop does not wait for tasks; they are cancelled, and the hooks run."""
    caplog.set_level(logging.INFO)
    app = Flask("hurried")
    aio = AioHTTP(app)
    log = []

    @aio.on_shutdown
    def shutdown():
        log.append("hook")

    @app.get("/")
    async def index():
        async def endless():
            try:
                await asyncio.Event().wait()
            finally:
                log.append("task")

        aio.create_task(endless())
        return "started"

    async with serve(app) as served:
        async with served.session.get("/") as response:
            assert "started" == await response.text()
        stop = asyncio.create_task(served.server.stop(1000.0))
        await eventually(lambda: served.server.traffic.closing, "the stop")
        served.server.hurry()
        await asyncio.wait_for(stop, 20)

    assert ["task", "hook"] == log


async def test_hook_of_the_stop_that_fails_is_logged(caplog):
    """A failing clean-up of a native application ends in the log, not in the worker's crash."""
    native = web.Application()

    async def fail(_: web.Application) -> None:
        raise RuntimeError("cannot clean up")

    native.on_cleanup.append(fail)
    async with serve(native):
        pass

    assert "RuntimeError: cannot clean up" in caplog.text
