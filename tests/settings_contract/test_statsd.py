"""gunicorn's statistics are the same as under gthread."""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Iterator

import aiohttp
import pytest
from harness import PATIENCE, Gunicorn

from .conftest import OURS, Start

PATHS = ("/sync", "/async", "/stream", "/async-stream", "/missing", "/fail", "/empty")


@pytest.fixture(name="statsd")
def _statsd() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(PATIENCE)
        yield sock


def options(statsd: socket.socket) -> str:
    return f"statsd_host = '127.0.0.1:{statsd.getsockname()[1]}'\n"


def metrics(statsd: socket.socket, requests: int) -> list[str]:
    """Receive what is said until *requests* requests have been counted, without the values."""
    received: list[str] = []
    while sum(".request.status." in metric for metric in received) < requests:
        metric = statsd.recv(1024).decode()
        name, _, kind = metric.partition(":")
        if "gunicorn.request" in name:  # and not one of this worker's own
            received.append(f"{name} {kind.partition('|')[2]}")
    return received


def count(server: Gunicorn, statsd: socket.socket) -> Counter[str]:
    for path in PATHS:
        server.request(path)
    return Counter(metrics(statsd, len(PATHS)))


@pytest.mark.parametrize("more", ["", "accesslog = '-'\n"], ids=["alone", "with an access log"])
def test_each_request_is_counted_as_under_gthread(
    configured: Start, statsd: socket.socket, more: str
) -> None:
    """Number, duration and status, whether lines are written or not, with prefix and tags."""
    text = f"{options(statsd)}statsd_prefix = 'shop'\ndogstatsd_tags = 'a:b'\n{more}"
    theirs, ours = (count(configured(text, worker=worker), statsd) for worker in ("gthread", OURS))

    assert theirs == ours
    assert len(PATHS) == ours["shop.gunicorn.requests c|@1.0|#a:b"]
    assert len(PATHS) == ours["shop.gunicorn.request.duration ms|#a:b"]
    assert 1 == ours["shop.gunicorn.request.status.404 c|@1.0|#a:b"]


async def test_a_websocket_is_counted_once(configured: Start, statsd: socket.socket) -> None:
    """At its end, with the status 101."""
    server = configured(options(statsd))

    async with aiohttp.ClientSession(server.url) as session, session.ws_connect("/ws") as ws:
        await ws.send_str("hello")
        await ws.receive_str()

    assert "gunicorn.request.status.101 c|@1.0" in metrics(statsd, 1)


def test_the_backlog_is_a_metric(configured: Start, statsd: socket.socket, worker: str) -> None:
    """``enable_backlog_metric``: the master says how many connections wait."""
    configured(f"{options(statsd)}enable_backlog_metric = True\n", worker=worker)

    while not (metric := statsd.recv(1024).decode()).startswith("gunicorn.backlog:"):
        pass

    assert "gunicorn.backlog:0|h" == metric
