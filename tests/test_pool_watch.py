"""Sync views that hold up others, or take long, are named in the log."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import AsyncIterator
from types import SimpleNamespace

import pytest
from flask import Flask
from harness import PATIENCE, Served, eventually, serve

from flask_aiohttp import AioHTTP, _pool_watch, websocket
from flask_aiohttp._pool_watch import PoolWatch
from flask_aiohttp._settings import ServerSettings
from flask_aiohttp._threads import PoolThread


class Views:
    """An application whose views hold their threads until a test lets them go."""

    def __init__(self) -> None:
        self.app = app = Flask("pool")
        self.go_on = threading.Event()
        AioHTTP(app)

        @app.route("/<name>")
        def hold(name: str) -> str:
            self.go_on.wait(PATIENCE)  # the line that holds
            return "ok"

        @app.route("/socket")
        @websocket
        def socket() -> str:
            self.go_on.wait(PATIENCE)
            return "no socket after all"

    @contextlib.asynccontextmanager
    async def asked(self, served: Served, *paths: str) -> AsyncIterator[None]:
        """Send requests, one after the other; at the end let them all be answered."""

        async def get(path: str) -> int:
            headers = {"Upgrade": "websocket", "Connection": "Upgrade"} if path == "/socket" else {}
            async with served.session.get(path, headers=headers) as response:
                await response.read()
                return response.status

        answers = []
        for number, path in enumerate(paths, 1):
            answers.append(asyncio.create_task(get(path)))
            in_flight = served.server.traffic.in_flight
            await eventually(lambda: len(in_flight) == number, path)  # noqa: B023
        yield
        self.go_on.set()
        assert {200} == {await answer for answer in answers}


@pytest.fixture(name="views")
def _views() -> Views:
    return Views()


def warnings(caplog: pytest.LogCaptureFixture, text: str) -> list[str]:
    messages = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    return [message for message in messages if text in message]


async def test_a_full_pool_says_who_waits_and_who_holds_the_threads(
    views: Views, caplog: pytest.LogCaptureFixture
) -> None:
    """Once a request has waited for a second, the log names the views in the threads."""
    paths = ["/a", "/a", "/b?c=d", "/late", "/late", "/late", "/late"]

    async with serve(views.app, threads=3) as served, views.asked(served, *paths):
        await eventually(lambda: warnings(caplog, "wait for a thread"), "the warning")

    [report] = warnings(caplog, "wait for a thread")
    assert "4 requests wait for a thread, the first for more than 1." in report
    assert "All 3 threads are busy" in report
    assert "  2 x GET /a (endpoint 'hold')\n  1 x GET /b?c=d (endpoint 'hold')" in report
    assert "/late" not in report


async def test_a_pool_that_is_full_for_a_moment_says_nothing(
    views: Views, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requests that wait less than the patience are no reason, whatever waited before them."""
    monkeypatch.setattr(_pool_watch, "_PATIENCE", PATIENCE)

    async with serve(views.app, threads=1, slow_loop=0.02) as served:
        async with views.asked(served, "/a", "/b"):
            pool = served.server.activity.pool
            await eventually(lambda: pool and pool.waited() > 0.1, "the watch to look")
            waited = pool.waited() if pool else 0
        after = pool.waited() if pool else 1

    assert PATIENCE > waited > 0.1
    assert 0.0 == after
    assert [] == warnings(caplog, "wait for a thread")


async def test_the_first_to_wait_is_the_one_that_counts(views: Views) -> None:
    """Others that come later do not make its time shorter: a busy server is never full for long."""
    async with serve(views.app, threads=1) as served, views.asked(served, "/a", "/b"):
        pool = served.server.activity.pool
        assert pool is not None
        await eventually(lambda: pool.waited() > 0.1, "the first one to have waited")
        late = asyncio.create_task(pool.run(int))
        await asyncio.sleep(0)
        waited = pool.waited()

        views.go_on.set()
        await late

    assert waited > 0.1


async def looks(served: Served, number: int) -> None:
    """Wait until the watch has looked *number* times more."""
    watch = served.server._watch
    assert watch is not None
    end = asyncio.get_running_loop().time() + number * watch._period
    await eventually(lambda: asyncio.get_running_loop().time() > end, "the watch to look")


@pytest.mark.parametrize("slow_loop", [0.02, 0], ids=["watched", "with-the-loop-unwatched"])
async def test_a_slow_sync_view_is_reported_where_that_is_asked_for(
    views: Views, caplog: pytest.LogCaptureFixture, slow_loop: float
) -> None:
    """With AIOHTTP_SLOW_REQUEST each is told once, with the line where its thread is."""
    views.app.config["AIOHTTP_SLOW_REQUEST"] = 0.05
    views.app.config["AIOHTTP_SLOW_LOOP"] = slow_loop

    async with serve(views.app) as served, views.asked(served, "/a", "/socket", "/b"):
        for name in ("/a", "/b"):
            text = f"GET {name} (endpoint 'hold')"
            await eventually(lambda text=text: warnings(caplog, text), "the warning")
        await looks(served, 3)

    reports = "".join(warnings(caplog, "Synchronous views have taken more than 0.05 s"))
    assert 1 == reports.count("GET /a (")
    assert 1 == reports.count("GET /b (")
    assert "the line that holds" in reports
    assert "/socket" not in reports


def test_each_request_of_a_thread_has_its_own_time(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread that is busy all the time, with one quick view after the other, is not slow."""
    clock = iter([0.0, 0.9, 1.0, 1.8, 1.9, 3.5, 5.0, 5.9, 6.0, 9.0])
    thread = PoolThread()
    loop = SimpleNamespace(time=lambda: next(clock))
    pool = SimpleNamespace(threads=[thread], loop=loop, waited=lambda: 0.0)
    settings = ServerSettings(slow_request=1.0, logger=logging.getLogger("pool"))
    watch = PoolWatch(SimpleNamespace(pool=pool), settings)  # type: ignore[arg-type]
    monkeypatch.setattr(_pool_watch, "exchange_of", lambda work: SimpleNamespace(environ=work))
    monkeypatch.setattr(_pool_watch, "describe", lambda exchange: exchange.environ["name"])
    one, two, three = ({"name": name} for name in ("one", "two", "three"))

    reported = []
    for thread.work in (one, one, two, two, one, None, one, three, one, one):
        watch.look()
        reported.append(len(warnings(caplog, "Synchronous views")))

    # The last one has been seen in the same thread for 3 s, all others for less than 1 s.
    assert [0] * 9 + [1] == reported
    assert "one:" in warnings(caplog, "Synchronous views")[0]


async def test_slow_sync_views_are_not_reported_unasked(
    views: Views, caplog: pytest.LogCaptureFixture
) -> None:
    """By default a sync view may take as long as it wants."""
    async with serve(views.app, slow_loop=0.02) as served, views.asked(served, "/a"):
        await looks(served, 5)

    assert [] == warnings(caplog, "GET /a")
