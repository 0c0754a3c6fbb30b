"""Bodies of any size pass through a worker that does not grow with them."""

from __future__ import annotations

import http.client
import re
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from harness import PATIENCE, Gunicorn

pytestmark = pytest.mark.load

# Bytes of each body; of the pieces of a download; and of the worker's growth.
SIZE = 1 << 30
PIECE = 1 << 16
BOUND = 16 << 20


def peak(server: Gunicorn) -> int:
    """Return the most memory that the worker has had resident so far, in bytes."""
    status = Path(f"/proc/{server.workers[0]}/status").read_text()
    match = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert match is not None
    return int(match[1]) * 1024


def download(server: Gunicorn, path: str, size: int) -> int:
    """Return the length of the body that comes."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=PATIENCE)
    connection.request("GET", f"{path}?pieces={size // PIECE}")
    with connection.getresponse() as response:
        length = 0
        buffer = bytearray(1 << 20)
        while received := response.readinto(buffer):
            length += received
    connection.close()
    return length


def upload(server: Gunicorn, path: str, size: int, *, chunked: bool) -> int:
    """Return the length of the body as the view has seen it."""
    piece = b"x" * (1 << 18)
    if chunked:
        field, piece = "Transfer-Encoding: chunked", b"%x\r\n%b\r\n" % (len(piece), piece)
    else:
        field = f"Content-Length: {size}"
    with socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE) as connection:
        connection.sendall(f"POST {path} HTTP/1.1\r\nHost: x\r\n{field}\r\n\r\n".encode())
        for _ in range(size >> 18):
            connection.sendall(piece)
        if chunked:
            connection.sendall(b"0\r\n\r\n")
        response = http.client.HTTPResponse(connection)
        response.begin()
        assert response.status == 200
        return int(response.read())


def pass_through(server: Gunicorn, size: int) -> set[int]:
    """Send and receive a body in each way; return what lengths the receivers have seen."""
    return {
        download(server, "/loop/asynchronous", size),
        download(server, "/loop/plain", size),
        download(server, "/thread/plain", size),
        upload(server, "/loop", size, chunked=False),
        upload(server, "/loop", size, chunked=True),
        upload(server, "/thread", size, chunked=False),
        upload(server, "/thread", size, chunked=True),
    }


def test_large_bodies_do_not_grow_the_worker(gunicorn: Callable[..., Gunicorn]) -> None:
    """Up and down, in both places, with and without chunks: less than 16 MiB in all."""
    server = gunicorn("streams:app")
    pass_through(server, 1 << 20)
    before = peak(server)

    lengths = pass_through(server, SIZE)

    assert {SIZE} == lengths
    assert BOUND > peak(server) - before


@pytest.mark.parametrize("path", ["/loop/asynchronous", "/thread/plain"])
def test_a_stalled_client_holds_no_more_than_the_buffers(
    gunicorn: Callable[..., Gunicorn], path: str
) -> None:
    """An endless stream whose client reads nothing does not run into memory."""
    server = gunicorn("streams:app")
    download(server, path, 1 << 20)
    before = peak(server)
    clients = []
    for _ in range(8):
        client = socket.create_connection(("127.0.0.1", server.port), timeout=PATIENCE)
        client.sendall(f"GET {path}?pieces=endless HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert client.recv(1)
        clients.append(client)

    download(server, path, SIZE // 8)
    grown = peak(server) - before
    for client in clients:
        client.close()

    assert BOUND > grown
