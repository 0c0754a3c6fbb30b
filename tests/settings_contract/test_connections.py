"""Connections, files and sockets are treated as the settings say."""

from __future__ import annotations

import http.client

import pytest
from harness import PATIENCE

from .conftest import Start

# Says when the kernel is asked to send a file.
WATCH_SENDFILE = """
import os

real = os.sendfile

def watched(*args, **kwargs):
    print("SENDFILE", flush=True)
    return real(*args, **kwargs)

os.sendfile = watched
"""


@pytest.mark.parametrize("env, expected", [({}, True), ({"SENDFILE": "no"}, False)])
def test_the_kernel_sends_files_unless_it_must_not(
    configured: Start, worker: str, env: dict[str, str], expected: bool
) -> None:
    """``sendfile``, and the environment variable that gunicorn has for it."""
    # uvloop does not send files through os.sendfile().
    server = configured(f"{WATCH_SENDFILE}asgi_loop = 'asyncio'\n", worker=worker, env=env)

    text = server.get("/file")

    assert "def file() -> Response:" in text
    assert expected is ("SENDFILE" in server.log)


@pytest.mark.parametrize("seconds, reused", [(0, False), (5, True)])
def test_a_connection_is_kept_or_not(
    configured: Start, worker: str, seconds: int, reused: bool
) -> None:
    """``keepalive``; 0 is announced in the answer."""
    server = configured(f"keepalive = {seconds}\n", worker=worker)

    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
    connection.request("GET", "/sync")
    response = connection.getresponse()
    response.read()
    announced = response.getheader("Connection", "keep-alive")
    kept = connection.sock is not None
    connection.close()

    assert ("keep-alive" if reused else "close", reused) == (announced, kept)
