"""The worker follows gunicorn's other signals: reload, more and fewer workers, rotated logs."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from typing import Any

import aiohttp
from harness import Gunicorn, wait_for

from .conftest import Release


def test_hup_replaces_the_workers_and_serves_on(
    gunicorn: Callable[..., Gunicorn], release: Release
) -> None:
    """A reload loses nothing: new workers answer, and the old one ends what it has begun."""
    server = gunicorn("worker_demo:app")
    [old] = server.wait_for_workers()
    answer = server.request_in_thread(f"/hold?until={release.path}")
    server.wait_for_log("held")

    server.signal(signal.SIGHUP)
    wait_for(lambda: "draining" in server.title(old), "the old worker's drain")
    new = int(server.get("/async").split()[1])
    release()
    wait_for(lambda: old not in server.workers, "the old worker's end")

    assert new != old
    assert 200 == answer.result()[0]
    assert [new] == server.workers
    assert 1 == server.log.count(f"hook: shutdown {old}")
    assert 0 == server.log.count(f"hook: shutdown {new}")


def test_usr1_makes_the_worker_open_its_logs_anew(
    gunicorn: Callable[..., Gunicorn], tmp_path: Any
) -> None:
    """Log rotation: after SIGUSR1 the lines go to the new file."""
    log = tmp_path / "access.log"
    server = gunicorn("worker_demo:app", "--access-logfile", str(log))
    server.get("/async")

    log.rename(tmp_path / "access.log.1")
    server.signal(signal.SIGUSR1)
    wait_for(log.exists, "the new file")

    def logged() -> bool:
        server.get("/async")
        return log.stat().st_size > 0

    wait_for(logged, "a line in the new file")


async def test_signals_that_are_not_meant_for_a_worker_change_nothing(
    gunicorn: Callable[..., Gunicorn],
) -> None:
    """A terminal that is resized or closed does not end the worker or its websockets."""
    server = gunicorn("worker_demo:app")
    [pid] = await asyncio.to_thread(server.wait_for_workers)

    async with aiohttp.ClientSession(server.url) as session, session.ws_connect("/ws") as ws:
        for number in (signal.SIGWINCH, signal.SIGHUP, signal.SIGTTIN):
            os.kill(pid, number)
        await ws.send_str("hello")
        answer = await ws.receive_str()
        await ws.close()

    assert f"loop {pid} hello" == answer


def test_fewer_workers_drain_like_at_a_stop(
    gunicorn: Callable[..., Gunicorn], release: Release
) -> None:
    """SIGTTOU takes a worker away only after its requests have ended."""
    server = gunicorn("worker_demo:app")
    [old] = server.wait_for_workers()
    answer = server.request_in_thread(f"/hold?until={release.path}")
    server.wait_for_log("held")
    server.signal(signal.SIGTTIN)
    server.wait_for_workers(2)

    server.signal(signal.SIGTTOU)
    wait_for(lambda: "draining" in server.title(old), "the drain")
    release()
    wait_for(lambda: old not in server.workers, "the worker's end")

    assert 200 == answer.result()[0]
    assert 1 == len(server.workers)
