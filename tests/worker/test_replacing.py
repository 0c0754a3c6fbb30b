"""Workers are replaced under load, and no request is lost."""

from __future__ import annotations

import asyncio
import http.client
import os
import signal
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest
from harness import PATIENCE, Gunicorn, wait_for
from replacing import CLIENTS, WAYS, Way, failures


@pytest.mark.load
@pytest.mark.timeout(120)
@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
async def test_nothing_is_lost(gunicorn: Callable[..., Gunicorn], way: Way) -> None:
    """What ``make replacing`` does with more: no client sees a failure."""
    server = gunicorn("soak_app:app", "-w", "2", *way.options)
    await asyncio.to_thread(server.wait_for_workers, 2)

    sent, failed = await failures(server, way, 500)

    assert [] == failed
    assert sent >= 500


@pytest.mark.load
async def test_a_worker_that_is_killed_takes_only_its_own_requests_along(
    gunicorn: Callable[..., Gunicorn],
) -> None:
    """Of three, the two others serve on, and the third is replaced."""
    server = gunicorn("soak_app:app", "-w", "3")
    pids = await asyncio.to_thread(server.wait_for_workers, 3)

    def kill(server: Gunicorn, sent: Callable[[], int]) -> None:
        os.kill(pids[0], signal.SIGKILL)
        before = sent()
        wait_for(lambda: sent() > before + 200, "answers of the others")
        wait_for(lambda: pids[0] not in server.workers, "its end")
        server.wait_for_workers(3)

    _, failed = await failures(server, Way(kill), 500)

    # Each client has one connection, with one request at a time.
    assert len(failed) <= CLIENTS
    assert {pids[1], pids[2]} < set(server.workers)


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTTOU])
async def test_websockets_are_told_that_somebody_serves_on(
    gunicorn: Callable[..., Gunicorn], number: int
) -> None:
    """SIGTERM from a master that still listens is no end of all: the code says to come back."""
    server = gunicorn("worker_demo:app")
    await asyncio.to_thread(server.wait_for_workers, 1)

    async with aiohttp.ClientSession(server.url) as session, session.ws_connect("/ws") as ws:
        await ws.send_str("hello")
        await ws.receive_str()
        if number == signal.SIGTTOU:
            server.signal(signal.SIGTTIN)
            await asyncio.to_thread(server.wait_for_workers, 2)
        server.signal(number)
        message: Any = await ws.receive()

    assert aiohttp.WSCloseCode.SERVICE_RESTART == message.data


def test_a_kept_connection_is_served_by_an_old_worker_once_more(
    gunicorn: Callable[..., Gunicorn],
) -> None:
    """After HUP the connection's next answer is the old worker's, and says that it is the last."""
    server = gunicorn("worker_demo:app")
    [old] = server.wait_for_workers()
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
    connection.request("GET", "/async")
    assert f"loop {old}" == connection.getresponse().read().decode()
    server.signal(signal.SIGHUP)
    wait_for(lambda: "draining" in server.title(old), "the drain")

    connection.request("GET", "/async")
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    wait_for(lambda: old not in server.workers, "the old worker's end")

    assert f"loop {old}" == text
    assert "close" == answer.headers["Connection"]
