"""Clients that leave in the middle of a stream, or stand still in it, by the hundred."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from harness import PATIENCE, Gunicorn, wait_for

pytestmark = pytest.mark.load

# Each stream waits for ever after its first piece, or for a client that reads no more.
STREAMS = [
    f"/{place}/{kind}?pieces={pieces}"
    for place in ("loop", "thread")
    for kind in ("asynchronous", "plain", "events")
    for pieces in ("one", "endless")
]
LEAVERS = 504


class Client:
    """Opens a stream, and leaves it."""

    def __init__(self, server: Gunicorn, path: str) -> None:
        self.server = server
        self.path = path

    async def arrive(self) -> None:
        """Get the first bytes of the answer's body."""
        self.reader, self.writer = await asyncio.open_connection(
            "127.0.0.1", self.server.port, limit=1024
        )
        self.writer.write(f"GET {self.path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), PATIENCE)
        assert head.startswith(b"HTTP/1.1 200 OK"), head
        assert await asyncio.wait_for(self.reader.readexactly(100), PATIENCE)

    async def leave(self, in_order: bool) -> None:
        """Close the connection, or vanish as a client does that crashes."""
        if not in_order:
            sock = self.writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def come_and_go(self, in_order: bool) -> None:
        await self.arrive()
        await self.leave(in_order)


async def leave_streams(server: Gunicorn, number: int) -> None:
    """Let *number* clients leave: those of async views all at once, others as threads get free."""
    paths = [STREAMS[n % len(STREAMS)] for n in range(number)]
    together = [Client(server, path) for path in paths if path.startswith("/loop")]
    others = [Client(server, path) for path in paths if path.startswith("/thread")]
    await asyncio.gather(*(client.arrive() for client in together))
    await asyncio.gather(
        *(client.come_and_go(in_order=bool(n % 2)) for n, client in enumerate(others)),
        *(client.leave(in_order=bool(n % 2)) for n, client in enumerate(together)),
    )


def held(server: Gunicorn) -> dict[str, int]:
    """Return what the worker holds besides the request that asks."""
    # Else its connection would be there for a moment after it, and count.
    counts: dict[str, int] = json.loads(server.request("/held", headers={"Connection": "close"})[2])
    return counts


async def test_500_leavers_leave_nothing_behind(gunicorn: Callable[..., Gunicorn]) -> None:
    """No task, greenlet, thread or open generator; one line of the log each, no traceback."""
    server = gunicorn("streams:app", "--log-level", "info")
    start = held(server)

    await leave_streams(server, LEAVERS)
    wait_for(lambda: held(server) == start, f"{start}, now {held(server)}")

    assert LEAVERS == server.log.count("the client closed the connection")
    assert "Traceback" not in server.log
    assert "destroyed" not in server.log
    assert 0 == server.stop()


async def test_stalled_downloads_of_async_views_hold_no_thread(
    gunicorn: Callable[..., Gunicorn],
) -> None:
    """With 100 of them, all ten threads are there for sync views."""
    server = gunicorn("streams:app")
    paths = [path for path in STREAMS if path.startswith("/loop")]
    clients = [Client(server, paths[n % len(paths)]) for n in range(100)]
    await asyncio.gather(*(client.arrive() for client in clients))

    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(server.get, ["/everybody"] * 10))
    open_streams = held(server)["generators"]
    for client in clients:
        await client.leave(in_order=True)

    assert ["all threads"] * 10 == answers
    assert 100 == open_streams
