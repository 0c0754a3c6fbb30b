"""statsd hears what each worker has to do, under a name that stays the worker's own."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Iterator

import aiohttp
import pytest
from harness import Gunicorn, eventually, wait_for

from .conftest import Release


class Statsd:
    """Listens as statsd does, and keeps the last value of each gauge."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.setblocking(False)
        self.host = f"127.0.0.1:{self._socket.getsockname()[1]}"
        self._gauges: dict[str, float] = {}

    def gauges(self) -> dict[str, float]:
        """Return the last value of each gauge of this project's by its name."""
        while True:
            try:
                line = self._socket.recv(1000).decode()
            except BlockingIOError:
                return self._gauges
            name, _, value = line.partition(":")
            if line.endswith("|g") and ".worker." in name:
                self._gauges[name] = float(value.removesuffix("|g"))

    def of(self, kind: str) -> list[float]:
        """Return what the workers say of one thing, zeros left out."""
        return [value for name, value in self.gauges().items() if name.endswith(kind) and value]

    def forget(self) -> None:
        """Begin anew."""
        self._gauges = {}

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(name="statsd")
def _statsd() -> Iterator[Statsd]:
    statsd = Statsd()
    yield statsd
    statsd.close()


KINDS = ("loop_lag", "requests", "waiting", "websockets")


async def test_gauges_tell_what_is_under_way(
    gunicorn: Callable[..., Gunicorn], statsd: Statsd, release: Release
) -> None:
    """Requests, websockets and requests that wait for a thread, after gunicorn's prefix."""
    options = ("--statsd-host", statsd.host, "--statsd-prefix", "shop")
    env = {"FLASK_AIOHTTP_THREADS": "1"}
    server = gunicorn("worker_demo:app", *options, env=env)
    names = {f"shop.gunicorn.worker.1.{kind}" for kind in KINDS}
    await eventually(lambda: names == set(statsd.gauges()), "all gauges")

    async with aiohttp.ClientSession(server.url) as session, session.ws_connect("/ws"):
        for _ in range(3):
            server.request_in_thread(f"/hold-sync?until={release.path}")
        await eventually(lambda: [3] == statsd.of("requests"), "the requests")
        await eventually(lambda: [1] == statsd.of("websockets"), "the websocket")
        await eventually(lambda: [2] == statsd.of("waiting"), "those that wait")
        [title] = [server.title(pid) for pid in server.workers]
        release()
        await eventually(lambda: [] == statsd.of("requests") + statsd.of("waiting"), "the end")

    assert "3 requests, 1 websockets, 2 waiting for a thread" in title


def test_a_gauge_tells_how_late_the_loop_is(
    gunicorn: Callable[..., Gunicorn], statsd: Statsd, release: Release
) -> None:
    """A view that blocks the loop is to be seen in milliseconds."""
    server = gunicorn("worker_demo:app", "--statsd-host", statsd.host)
    server.wait_for_workers()

    # The worker looks each second: what blocks for two is late by one at least.
    server.request_in_thread("/block?seconds=2")

    wait_for(lambda: [lag for lag in statsd.of("loop_lag") if lag >= 900], "the delay")


def test_each_worker_has_a_number_and_the_next_one_takes_it(
    gunicorn: Callable[..., Gunicorn], statsd: Statsd
) -> None:
    """Workers do not overwrite each other's gauges, and their names do not grow in number."""
    server = gunicorn("worker_demo:app", "--workers", "2", "--statsd-host", statsd.host)
    numbers = {f"gunicorn.worker.{number}.{kind}" for number in (1, 2) for kind in KINDS}
    wait_for(lambda: numbers == set(statsd.gauges()), "both workers")

    for _ in range(2):
        old = server.wait_for_workers(2)
        os.kill(old[0], signal.SIGKILL)
        wait_for(lambda old=old: old[0] not in server.workers, "the worker's end")
        server.wait_for_workers(2)
        statsd.forget()
        wait_for(lambda: numbers == set(statsd.gauges()), "both workers, under these names")


def test_a_worker_that_ends_leaves_zeros(
    gunicorn: Callable[..., Gunicorn], statsd: Statsd, release: Release
) -> None:
    """statsd keeps the last value it has heard: that must not be one from a time long gone."""
    server = gunicorn("worker_demo:app", "--statsd-host", statsd.host, "--graceful-timeout", "2")
    server.wait_for_workers()
    server.request_in_thread(f"/hold?until={release.path}")
    wait_for(lambda: [1] == statsd.of("requests"), "the request")

    assert 0 == server.stop()
    assert {0.0} == set(statsd.gauges().values())
