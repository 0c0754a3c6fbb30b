"""Bytes reach the client as fast as it takes them, and its leaving is told."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from email.utils import parsedate_to_datetime

import pytest
from aiohttp import web
from harness import PATIENCE, eventually

from flask_aiohttp import ClientGone, _writer
from flask_aiohttp._writer import Connection, SentResponse, http_date

# More than the socket's buffers and the transport's take, however the system has set them.
LARGE = b"x" * (8 << 20)


class Ends:
    """Both ends of one connection: the server's way back, and the client's socket."""

    def __init__(self, connection: Connection, request: web.BaseRequest, client: socket.socket):
        self.connection = connection
        self.transport = request.transport
        self.client = client

    async def read(self, size: int = 1 << 20) -> bytes:
        loop = asyncio.get_running_loop()
        return await asyncio.wait_for(loop.sock_recv(self.client, size), PATIENCE)

    async def read_exactly(self, size: int) -> None:
        while size > 0:
            size -= len(await self.read())

    async def read_all(self) -> bytes:
        received = bytearray()
        while data := await self.read():
            received += data
        return bytes(received)

    async def leave(self) -> None:
        """Close the client's end, and wait until the server knows."""
        self.client.close()
        await eventually(lambda: self.connection.gone, "the server to notice")


@contextlib.asynccontextmanager
async def connected(send_timeout: float = PATIENCE) -> AsyncIterator[Ends]:
    """Yield both ends of a connection on which a request has been sent."""
    arrived: asyncio.Queue[web.BaseRequest] = asyncio.Queue()
    done = asyncio.Event()

    async def handler(request: web.BaseRequest) -> web.StreamResponse:
        arrived.put_nowait(request)
        await done.wait()
        return SentResponse(200, 0, keep_alive=False)

    loop = asyncio.get_running_loop()
    manager = web.Server(handler)
    server = await loop.create_server(manager, "127.0.0.1", 0)
    with socket.socket() as client:
        client.setblocking(False)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        await loop.sock_connect(client, server.sockets[0].getsockname())
        await loop.sock_sendall(client, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        request = await arrived.get()
        try:
            yield Ends(Connection(request, send_timeout, sendfile=True), request, client)
        finally:
            done.set()
            client.close()
            await eventually(lambda: not manager.connections, "the connection's end")
            server.close()
            await manager.shutdown(1)
            await eventually(lambda: len(asyncio.all_tasks()) == 1, "aiohttp's tasks to end")


async def test_bytes_are_sent_as_they_are() -> None:
    """What is sent arrives unchanged, and in order."""
    async with connected() as ends:
        ends.connection.send(b"one ")
        await ends.connection.send_and_drain(b"two ", b"three ")
        ends.connection.send_continue()
        ends.connection.cut()

        assert b"one two three HTTP/1.1 100 Continue\r\n\r\n" == await ends.read_all()


async def test_sender_waits_for_a_slow_client() -> None:
    """Sending goes on only when the client has taken what is under way."""
    async with connected() as ends:
        sending = asyncio.create_task(ends.connection.send_and_drain(LARGE))
        done, _ = await asyncio.wait({sending}, timeout=0.05)
        await ends.read_exactly(len(LARGE))
        await sending

    assert set() == done


async def test_client_that_reads_slowly_is_not_given_up() -> None:
    """The timeout is for progress: who takes a little each time, for long, keeps the answer."""
    async with connected(send_timeout=0.01) as ends:
        sizes: list[int] = []

        def shrink() -> int:
            sizes.append(1000 - len(sizes))
            if len(sizes) >= 10:
                ends.connection._send_timeout = PATIENCE
            return sizes[-1]

        ends.connection.send(LARGE)
        ends.transport.get_write_buffer_size = shrink
        draining = asyncio.create_task(ends.connection.drain())
        await eventually(lambda: len(sizes) >= 10, "several timeouts")
        del ends.transport.get_write_buffer_size
        await ends.read_exactly(len(LARGE))
        await draining

        assert not ends.connection.gone


async def test_client_that_reads_nothing_is_given_up() -> None:
    """Without progress for the timeout the connection is reset, and the sender told."""
    async with connected(send_timeout=0.01) as ends:
        with pytest.raises(ClientGone, match="waiting for it to read the answer"):
            await ends.connection.send_and_drain(LARGE)

        assert ends.connection.gone
        with pytest.raises(ConnectionResetError):
            await ends.read_all()


async def test_client_that_leaves_is_told_to_who_waits() -> None:
    """A sender that waits for a client learns that it has left."""
    async with connected() as ends:
        sending = asyncio.create_task(ends.connection.send_and_drain(LARGE))
        await asyncio.wait({sending}, timeout=0.01)
        await ends.leave()

        with pytest.raises(ClientGone, match="sending the answer"):
            await sending


async def test_nothing_is_sent_to_who_has_left() -> None:
    """After the client has left, sending is an error where it waits, and silent where not."""
    async with connected() as ends:
        await ends.leave()
        ends.connection.send(b"one")
        ends.connection.send_continue()
        ends.connection.cut()

        with pytest.raises(ClientGone, match="sending the answer"):
            await ends.connection.send_and_drain(b"two")


@pytest.mark.parametrize("abort, expected", [(False, {"whole"}), (True, {"in part", "reset"})])
async def test_cut_ends_the_connection(abort: bool, expected: set[str]) -> None:
    """A cut sends what is under way and ends; an abort ends at once, with an error."""
    async with connected() as ends:
        ends.connection.send(LARGE)
        ends.connection.cut(abort=abort)
        gone = ends.connection.gone
        try:
            received = "whole" if await ends.read_all() == LARGE else "in part"
        except ConnectionResetError:
            received = "reset"

    assert gone
    assert received in expected


def test_sent_response_tells_aiohttp_how_it_was() -> None:
    """aiohttp is told of an answer that is sent: status, length, and whether to go on."""
    response = SentResponse(404, 12, keep_alive=True)

    assert (404, 12, True, True) == (
        response.status,
        response.body_length,
        response.keep_alive,
        response.prepared,
    )


async def test_sent_response_is_not_sent_again() -> None:
    """What aiohttp does with a response sends nothing of one that is sent."""
    async with connected() as ends:
        response = SentResponse(200, 0, keep_alive=False)
        await response.prepare(ends.connection._request)
        await response.write_eof()
        ends.connection.cut()

        assert b"" == await ends.read_all()


@pytest.fixture(name="clock")
def _clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Return a function that sets the time."""

    def set_time(seconds: float) -> None:
        monkeypatch.setattr(_writer.time, "time", lambda: seconds)

    return set_time


def test_date_is_that_of_the_second(clock: Callable[[float], None]) -> None:
    """The date is in the form of RFC 9110, and a new one each second."""
    clock(784111777.2)
    first = http_date()
    clock(784111777.9)
    same = http_date()
    clock(784111778.0)
    second = http_date()

    assert "Sun, 06 Nov 1994 08:49:37 GMT" == first
    assert first is same
    assert "Sun, 06 Nov 1994 08:49:38 GMT" == second
    assert 784111778 == parsedate_to_datetime(second).timestamp()
