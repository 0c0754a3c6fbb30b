"""The processes say in their titles what they do."""

from __future__ import annotations

from collections.abc import Callable

import aiohttp
from harness import Gunicorn, eventually

from .conftest import Release


async def test_the_title_counts_requests_and_websockets(
    gunicorn: Callable[..., Gunicorn], release: Release
) -> None:
    """ps and top show what is open, under the name that gunicorn was given."""
    server = gunicorn("worker_demo:app", "--name", "shop")
    [pid] = server.wait_for_workers()
    idle = server.title(pid)

    async with aiohttp.ClientSession(server.url) as session, session.ws_connect("/ws"):
        answer = server.request_in_thread(f"/hold?until={release.path}")
        await eventually(lambda: "1 requests, 1 websockets" in server.title(pid), "the counts")
        busy = server.title(pid)
        release()
    await eventually(lambda: server.title(pid) == idle, "the end of both")

    assert "gunicorn: worker [shop] 0 requests, 0 websockets" == idle
    assert "gunicorn: worker [shop] 1 requests, 1 websockets" == busy
    assert 200 == answer.result()[0]


async def test_the_title_says_that_a_worker_drains(
    gunicorn: Callable[..., Gunicorn], release: Release
) -> None:
    """During a stop the title goes on to count what is waited for."""
    server = gunicorn("worker_demo:app")
    [pid] = server.wait_for_workers()
    server.request_in_thread(f"/hold?until={release.path}")
    await eventually(lambda: "held" in server.log, "the request")

    server.signal(15)
    await eventually(lambda: "draining" in server.title(pid), "the drain")

    assert server.title(pid).endswith("1 requests, 0 websockets, draining")
