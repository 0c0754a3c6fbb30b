"""Streams of events, which never end by themselves, do not hold up a stop or a reload."""

from __future__ import annotations

import contextlib
import http.client
from collections.abc import Callable, Iterator
from signal import SIGHUP, SIGTERM

import pytest
from harness import PATIENCE, Gunicorn

# Far more than a test waits: a stop that waits for the stream fails it.
FOREVER = ("--graceful-timeout", "1000")


@contextlib.contextmanager
def stream(server: Gunicorn, path: str) -> Iterator[http.client.HTTPResponse]:
    """Open a stream, and wait for its first event."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
    with contextlib.closing(connection):
        connection.request("GET", path)
        with connection.getresponse() as response:
            assert response.readline().startswith(b"data: ")
            yield response


@pytest.mark.parametrize("place", ["loop", "thread"])
def test_a_stop_ends_them_in_order(gunicorn: Callable[..., Gunicorn], place: str) -> None:
    """The client has a whole answer, and the worker exits at once."""
    server = gunicorn("streams:app", *FOREVER)
    with stream(server, f"/{place}/events?pieces=one") as events:
        server.signal(SIGTERM)

        assert events.read() == b"\n"
    assert 0 == server.wait()
    assert "Traceback" not in server.log


def test_after_a_reload_clients_come_back_to_the_new_worker(
    gunicorn: Callable[..., Gunicorn],
) -> None:
    """The old one lets its streams end, and goes."""
    server = gunicorn("streams:app", *FOREVER)
    (old,) = server.wait_for_workers()
    with stream(server, "/loop/events?pieces=one") as events:
        server.signal(SIGHUP)

        assert events.read() == b"\n"
    with stream(server, "/loop/events?pieces=one"):
        server.wait_for_log(f"Worker exiting (pid: {old})")
        (new,) = server.wait_for_workers()

    assert old != new
    assert "Traceback" not in server.log
