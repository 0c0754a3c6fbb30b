"""The example that sends notifications from a sync view, and from a command."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from harness import Gunicorn, eventually
from rooms.redis_server import RedisServer

EXAMPLE = Path(__file__).parent.parent / "examples" / "notifications"

Start = Callable[..., Gunicorn]


@pytest.fixture(name="start")
def _start(gunicorn: Start) -> Start:
    def start(**env: str) -> Gunicorn:
        return gunicorn("notifications:app", "--chdir", str(EXAMPLE), "--workers", "2", env=env)

    return start


@pytest.fixture(name="redis")
def _redis(require: Callable[[str], str]) -> Iterator[RedisServer]:
    with tempfile.TemporaryDirectory(prefix="r-") as path:
        server = RedisServer(require("redis-server"), Path(path))
        server.start()
        yield server
        server.stop()


class Page:
    """A page that is open somewhere: which worker brings its notifications, and their stream."""

    def __init__(self, worker: int, content: aiohttp.StreamReader) -> None:
        self.worker = worker
        self._content = content

    async def hear(self) -> Any:
        """Return the next notification."""
        event = await self._content.readuntil(b"\n\n")
        return json.loads(event.removeprefix(b"data: "))


@contextlib.asynccontextmanager
async def pages(server: Gunicorn) -> AsyncIterator[list[Page]]:
    """Open pages until each worker has one."""
    async with aiohttp.ClientSession(server.url) as session, contextlib.AsyncExitStack() as stack:

        async def open_one() -> Page:
            response = await stack.enter_async_context(session.get("/notifications"))
            event = await response.content.readuntil(b"\n\n")
            return Page(json.loads(event.partition(b"data: ")[2])["worker"], response.content)

        opened: list[Page] = []
        while len({page.worker for page in opened}) < 2:
            # Many at once: of those that come one by one, one worker might take each.
            opened += await asyncio.gather(*(open_one() for _ in range(8)))
        yield opened


async def test_an_order_is_shown_on_all_pages(start: Start) -> None:
    """Whichever worker serves them, and whichever took the order."""
    server = start()
    async with pages(server) as opened:
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        request = (server.request, "/orders", "POST", b"item=tea", form)
        status, _, text = await asyncio.to_thread(*request)
        assert (201, {"ordered": "tea"}) == (status, json.loads(text))
        heard = [await page.hear() for page in opened]

        assert ["Somebody has ordered tea."] * len(opened) == [m["text"] for m in heard]
        assert {message["by"] for message in heard} < set(server.workers)


async def test_a_command_reaches_all_pages(start: Start, redis: RedisServer) -> None:
    """A process that is no worker, through Redis."""
    server = start(AIOHTTP_ROOMS_URL=redis.url)
    async with pages(server) as opened:
        command = [sys.executable, "-m", "flask", "--app", "notifications", "ship", "17"]
        env = {**os.environ, "AIOHTTP_ROOMS_URL": redis.url}
        ended = subprocess.run(command, cwd=EXAMPLE, env=env, capture_output=True, text=True)

        assert (0, "") == (ended.returncode, ended.stderr)
        assert ["Order 17 is on its way."] * len(opened) == [
            (await page.hear())["text"] for page in opened
        ]


async def test_the_page_names_its_worker(start: Start) -> None:
    """And needs nothing from elsewhere."""
    server = start()
    await eventually(lambda: len(server.workers) == 2, "both workers")
    page = server.get("/")

    assert any(f"Worker <b>{pid}</b>" in page for pid in server.workers)
    assert "://" not in page
