"""Connections, files and sockets are treated as the settings say."""

from __future__ import annotations

import http.client
import socket

import pytest
from harness import PATIENCE, Gunicorn

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


@pytest.mark.parametrize(
    "option, env, expected",
    [
        ((), {}, True),
        (("--no-sendfile",), {}, False),
        ((), {"SENDFILE": "no"}, False),
    ],
)
def test_the_kernel_sends_files_unless_it_must_not(
    configured: Start, worker: str, option: tuple[str, ...], env: dict[str, str], expected: bool
) -> None:
    """``sendfile``, and the environment variable that gunicorn has for it."""
    # uvloop does not send files through os.sendfile().
    server = configured(f"{WATCH_SENDFILE}asgi_loop = 'asyncio'\n", *option, worker=worker, env=env)

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


def test_an_idle_connection_ends(configured: Start, worker: str) -> None:
    """After ``keepalive`` seconds the server closes it."""
    server = configured("keepalive = 1\n", worker=worker)

    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as sock:
        sock.sendall(b"GET /sync HTTP/1.1\r\nHost: a\r\n\r\n")
        received = b""
        while data := sock.recv(4096):
            received += data

    assert received.endswith(b"sync")


def test_each_worker_may_have_a_socket_of_its_own(configured: Start, worker: str) -> None:
    """``reuse_port`` and ``workers``: a port that is bound by each worker is served."""
    port = free_port()
    server = configured(
        "reuse_port = True\nworkers = 2\n", worker=worker, bind=f"127.0.0.1:{port}", listens=False
    )
    server.port = port
    server.wait_for_log("Booting worker", times=2)

    found = wait_for_pids(server)

    assert 2 == len(found)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


def wait_for_pids(server: Gunicorn) -> set[str]:
    """Ask until two workers have answered."""
    found: set[str] = set()
    for _ in range(500):
        try:
            found.add(server.get("/where").split()[1])
        except ConnectionError:
            continue
        if len(found) == 2:
            break
    return found
