"""A loop that stands still is reported while it does, with the line and the request."""

from __future__ import annotations

import asyncio
import itertools
import logging
import re
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import web
from flask import Flask
from harness import eventually, serve, wait_for

from flask_aiohttp import AioHTTP, _seldom, await_
from flask_aiohttp._seldom import Seldom


class Blocking:
    """Blocks the loop until that has been reported."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self.caplog = caplog
        caplog.set_level(logging.WARNING)

    def __call__(self) -> str:
        wait_for(self.reports, "the warning")  # the line that blocks
        return "unblocked"

    def reports(self) -> list[str]:
        messages = [record.getMessage() for record in self.caplog.records]
        return [text for text in messages if text.startswith("The event loop has been blocked")]


@pytest.fixture(name="blocking")
def _blocking(caplog: pytest.LogCaptureFixture) -> Blocking:
    return Blocking(caplog)


def make_app(block: Callable[[], str]) -> tuple[Flask, AioHTTP]:
    app = Flask("watch")
    aio = AioHTTP(app)

    @app.route("/view/<name>")
    async def view(name: str) -> str:
        return block()

    @app.route("/thread")
    def sync_view() -> str:
        return await_(below())

    async def below() -> str:
        await asyncio.sleep(0)
        return block()

    @app.route("/task")
    async def task() -> str:
        return await aio.create_task(below(), name="tidy up")

    @app.route("/callback")
    async def callback() -> str:
        asyncio.get_running_loop().call_soon(block)
        await asyncio.sleep(0)
        return "unblocked"

    async def native(request: web.Request) -> web.Response:
        return web.Response(text=block())

    app.aiohttp_app.router.add_get("/native", native)
    return app, aio


@pytest.mark.parametrize(
    "path, who",
    [
        ("/view/a?b=c", "GET /view/a?b=c (endpoint 'view')"),
        ("/thread", "the task 'await_: make_app.<locals>.below' of GET /thread (endpoint "),
        ("/task", "the task 'tidy up'"),
        ("/callback", "a callback"),
        ("/native", "a native request of aiohttp's in the task 'Task-"),
    ],
)
async def test_what_blocks_the_loop_is_named_while_it_does(
    path: str, who: str, blocking: Blocking
) -> None:
    """The warning comes from another thread: what blocks ends only when it has been written."""
    app, _ = make_app(blocking)

    async with serve(app, slow_loop=0.05) as served, served.session.get(path) as response:
        assert "unblocked" == await response.text()

    [report] = blocking.reports()
    assert re.match(r"The event loop has been blocked for \d+\.\d s by ", report)
    assert f" by {who}" in report
    assert 'test_watch.py"' in report
    assert "the line that blocks" in report


async def test_a_long_target_is_cut(blocking: Blocking) -> None:
    """Who sends the request does not decide how long the warning is."""
    app, _ = make_app(blocking)

    async with serve(app, slow_loop=0.05) as served, served.session.get("/view/" + "x" * 999):
        pass

    [report] = blocking.reports()
    assert f"GET /view/{'x' * 194}... (endpoint 'view')" in report


def test_the_stack_begins_with_the_application(blocking: Blocking) -> None:
    """What leads to a view is the same each time, and not shown."""

    async def serve_once() -> None:
        app, _ = make_app(blocking)
        async with serve(app, slow_loop=0.05) as served, served.session.get("/view/a"):
            pass

    asyncio.run(serve_once())

    [report] = blocking.reports()
    functions = re.findall(r'File ".*", line \d+, in (\w+)', report)
    assert ["view", "__call__", "wait_for"] == functions[:3]


async def test_a_second_block_is_not_reported_at_once(
    blocking: Blocking, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often a view blocks, the log has one warning in ten seconds."""
    monkeypatch.setattr(_seldom, "monotonic", lambda: 100.0)
    app, _ = make_app(blocking)
    held_back: Callable[[], int] = lambda: 0  # noqa: E731 - replaced once there is a server
    expected = iter([1, 2])

    @app.route("/again")
    async def again() -> str:
        number = next(expected)
        wait_for(lambda: held_back() == number, "the watch to hold a warning back")
        return "ok"

    async with serve(app, slow_loop=0.05) as served:
        held_back = lambda: served.server._watch._sentry._seldom._held_back  # noqa: E731
        for path in ("/view/a", "/again", "/again"):
            async with served.session.get(path) as response:
                assert 200 == response.status

    [report] = blocking.reports()
    assert "/view/a" in report


def test_what_was_held_back_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next warning can tell how many there were in between."""
    now = 100.0
    monkeypatch.setattr(_seldom, "monotonic", lambda: now)
    seldom = Seldom()

    answers = [seldom.ask(), seldom.ask(), seldom.ask()]
    now += 10
    answers += [seldom.ask(), seldom.ask()]
    now += 10
    answers += [seldom.ask()]

    assert [0, None, None, 2, None, 1] == answers


async def test_a_loop_that_turns_is_not_reported(blocking: Blocking) -> None:
    """Views that wait are no reason for a warning, however long they take."""
    app, _ = make_app(blocking)
    marks: list[float] = []

    @app.route("/waits")
    async def waits() -> str:
        # Ten times the patience, and a loop that is busy in small pieces meanwhile.
        for _ in range(50):
            await asyncio.sleep(0.01)
            marks.append(time.monotonic())
        return "ok"

    async with serve(app, slow_loop=0.05) as served:
        async with served.session.get("/waits") as response:
            assert "ok" == await response.text()
        # The watch works: it was not for want of one that nothing was said.
        late = [b - a for a, b in itertools.pairwise(marks) if b - a > 0.05]
        quiet = not blocking.reports()
        async with served.session.get("/view/a"):
            pass

    assert quiet or late  # a machine that was busy itself proves nothing
    assert blocking.reports()


def watchers() -> list[threading.Thread]:
    return [each for each in threading.enumerate() if each.name == "flask-aiohttp-watch"]


@pytest.mark.parametrize("value", [0, 0.0, "0"])
async def test_the_watch_can_be_turned_off(value: Any) -> None:
    """With AIOHTTP_SLOW_LOOP = 0 there is no thread that could warn."""
    app, _ = make_app(lambda: "ok")
    app.config["AIOHTTP_SLOW_LOOP"] = value
    before = watchers()

    async with serve(app) as served, served.session.get("/view/a") as response:
        assert 200 == response.status
        during = watchers()

    assert set(before) >= set(during)  # that of another test may be about to end


async def test_the_watch_ends_with_the_server() -> None:
    """Its thread is there while the server serves, and is gone after the stop."""
    app, _ = make_app(lambda: "ok")
    before = watchers()

    async with serve(app, slow_loop=1) as served, served.session.get("/view/a"):
        during = watchers()
    [own] = set(during) - set(before)
    await eventually(lambda: not own.is_alive(), "the thread's end")

    assert own.daemon
