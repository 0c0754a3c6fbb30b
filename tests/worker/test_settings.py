"""gunicorn's settings for threads and loop reach the worker."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from harness import Gunicorn, wait_for

from .conftest import Release


@pytest.mark.parametrize(
    "options, env, size",
    [
        (("--threads", "1"), {}, 10),
        (("--threads", "3"), {}, 3),
        (("--threads", "5"), {"FLASK_AIOHTTP_THREADS": "2"}, 2),
    ],
)
def test_as_many_sync_views_run_at_a_time_as_there_are_threads(
    gunicorn: Callable[..., Gunicorn],
    release: Release,
    options: tuple[str, ...],
    env: dict[str, str],
    size: int,
) -> None:
    """The pool has the size of --threads; 1 means the default of 10; AIOHTTP_THREADS overrides."""
    server = gunicorn("worker_demo:app", *options, env=env)
    [pid] = server.wait_for_workers()
    path = f"/hold-sync?until={release.path}"

    answers = [server.request_in_thread(path) for _ in range(size + 2)]
    server.wait_for_log("held", times=size)
    wait_for(lambda: f" {size + 2} requests" in server.title(pid), "all requests")
    running = server.log.count("held")
    release()

    assert size == running
    assert {200} == {answer.result()[0] for answer in answers}


def test_a_full_pool_does_not_delay_async_views(
    gunicorn: Callable[..., Gunicorn], release: Release
) -> None:
    """While each thread is busy, the loop still answers."""
    server = gunicorn("worker_demo:app", "--threads", "2")
    answers = [server.request_in_thread(f"/hold-sync?until={release.path}") for _ in range(3)]
    server.wait_for_log("held", times=2)

    answer = server.get("/async")
    busy = [not future.done() for future in answers]
    release()

    assert answer.startswith("loop ")
    assert [True, True, True] == busy
    assert {200} == {future.result()[0] for future in answers}


@pytest.mark.parametrize("name", ["asyncio", "uvloop"])
def test_the_loop_is_the_one_that_was_asked_for(
    gunicorn: Callable[..., Gunicorn], name: str
) -> None:
    """--asgi-loop, gunicorn's only setting for a loop, chooses it."""
    if name == "uvloop":
        pytest.importorskip("uvloop")
    server = gunicorn("worker_demo:app", "--asgi-loop", name)

    module = server.get("/loop")

    assert name == module.partition(".")[0]
