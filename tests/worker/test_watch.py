"""A worker that stands still says why, and its last words reach the log before it is killed."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

import pytest
from harness import Gunicorn, wait_for

from .conftest import Release

TIMEOUT = ("--timeout", "2")


def blocked(log: str) -> list[str]:
    return [line for line in log.splitlines() if "The event loop has been blocked" in line]


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_worker_that_times_out_has_told_everything(
    gunicorn: Callable[..., Gunicorn], hooks: str, release: Release, loop: str
) -> None:
    """The line and the URL that block, then all threads and tasks, then gunicorn's hooks."""
    if loop == "uvloop":
        pytest.importorskip("uvloop")
    server = gunicorn("worker_demo:app", *TIMEOUT, "--asgi-loop", loop, "--config", hooks)
    [pid] = server.wait_for_workers()
    for path in ("/hold", "/hold", "/hold-sync"):
        server.request_in_thread(f"{path}?until={release.path}")
    server.wait_for_log("held", times=3)

    server.request_in_thread("/block?id=7")
    server.wait_for_log(f"Worker (pid:{pid}) exited with code 1.")
    release()

    log = server.log
    steps = [
        "s by GET /block?id=7 (endpoint 'block'); nothing else is served",
        "the line that the log must name",
        "WORKER TIMEOUT",
        "the event loop is blocked by GET /block?id=7 (endpoint 'block') at",
        "the line that the log must name",
        "Threads:",
        f"with GET /hold-sync?until={release.path} (endpoint 'hold_sync'):",
        "in hold_sync",
        "Tasks:",
        f"hook: worker_abort {pid}",
        f"hook: worker_exit {pid}",
        f"Worker (pid:{pid}) exited with code 1.",
    ]
    place = 0
    for step in steps:
        place = log.index(step, place)
    held = f"GET /hold?until={release.path} (endpoint 'hold') in a greenlet"
    assert f"{held}, {held}:\n" in log
    assert "in wait_until_due" in log
    assert 1 == len(blocked(log))
    assert "Task was destroyed" not in log
    assert "never awaited" not in log
    assert "Exception ignored" not in log


def test_a_worker_that_starts_slowly_says_where_it_hangs(
    gunicorn: Callable[..., Gunicorn],
) -> None:
    """A blocked start is no reason to be killed; SIGABRT from elsewhere still gets an answer."""
    server = gunicorn("worker_boot:blocking_at_the_start")
    server.wait_for_log("blocking the start")
    [pid] = server.workers

    os.kill(pid, signal.SIGABRT)
    wait_for(lambda: server.process.poll() is not None or pid not in server.workers, "its end")

    assert "the event loop is blocked by the start of the application at" in server.log
    assert "in block_the_start" in server.log


def test_a_process_that_was_stopped_is_not_called_blocked(
    gunicorn: Callable[..., Gunicorn],
) -> None:
    """After SIGSTOP and SIGCONT nothing is reported; what blocks after that is."""
    server = gunicorn("worker_demo:app", env={"FLASK_AIOHTTP_SLOW_LOOP": "0.2"})
    [pid] = server.wait_for_workers()

    for _ in range(5):
        os.kill(pid, signal.SIGSTOP)
        time.sleep(0.5)  # more than the patience, in which the process must not run
        os.kill(pid, signal.SIGCONT)
        server.get("/async")
    stopped = blocked(server.log)
    server.request_in_thread("/block")
    server.wait_for_log("The event loop has been blocked")

    assert [] == stopped
    assert 1 == len(blocked(server.log))


def test_the_watch_can_be_turned_off(gunicorn: Callable[..., Gunicorn], hooks: str) -> None:
    """With AIOHTTP_SLOW_LOOP = 0 only the timeout tells."""
    server = gunicorn(
        *("worker_demo:app", "--timeout", "1", "--config", hooks),
        env={"FLASK_AIOHTTP_SLOW_LOOP": "0"},
    )
    [pid] = server.wait_for_workers()

    server.request_in_thread("/block")
    server.wait_for_log(f"hook: worker_exit {pid}")

    assert [] == blocked(server.log)
    assert "the event loop is blocked by GET /block (endpoint 'block') at" in server.log
