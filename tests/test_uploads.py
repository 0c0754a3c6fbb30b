"""Bodies that nobody reads, or not yet: they wait at the client, and are not in the way."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest
from flask import Flask, request
from harness import PATIENCE, Served, connect, eventually, serve

from flask_aiohttp import AioHTTP, _server, await_

# More than the buffers of both sockets and aiohttp's take, however the system has set them.
SIZE = 32 << 20
PIECE = b"x" * (1 << 16)

both_places = pytest.mark.parametrize("path", ["/loop", "/thread"])
both_framings = pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunks"])


class Gate:
    """Views that wait before they read."""

    def __init__(self) -> None:
        self.app = Flask("uploads")
        self.open = asyncio.Event()
        AioHTTP(self.app)
        self.app.add_url_rule("/loop", "loop", self.on_the_loop, methods=["POST"])
        self.app.add_url_rule("/thread", "thread", self.in_a_thread, methods=["POST"])
        self.app.add_url_rule("/unread", "unread", self.unread, methods=["POST"])

    async def on_the_loop(self) -> str:
        return self.in_a_thread()

    def in_a_thread(self) -> str:
        await_(self.open.wait())
        length = 0
        while piece := request.stream.read(1 << 16):
            length += len(piece)
        return f"{length} bytes"

    async def unread(self) -> str:
        return "not interested"


class Upload:
    """A client that sends as much as is taken."""

    def __init__(self, served: Served, path: str, chunked: bool, size: int = SIZE) -> None:
        self.size = size
        self.chunked = chunked
        self.sent = 0
        self.socket = socket.create_connection(("127.0.0.1", served.port))
        self.socket.setblocking(False)
        framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {size}"
        self.head = f"POST {path} HTTP/1.1\r\nHost: x\r\n{framing}\r\n\r\n".encode()

    async def send(self) -> None:
        """Send all of it."""
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(self.socket, self.head)
        piece = b"%x\r\n%b\r\n" % (len(PIECE), PIECE) if self.chunked else PIECE
        while self.sent < self.size:
            await loop.sock_sendall(self.socket, piece)
            self.sent += len(PIECE)
        if self.chunked:
            await loop.sock_sendall(self.socket, b"0\r\n\r\n")

    async def answer(self) -> bytes:
        """Return all that the server sends."""
        received, loop = b"", asyncio.get_running_loop()
        while data := await asyncio.wait_for(loop.sock_recv(self.socket, 1 << 16), PATIENCE):
            received += data
            if received.endswith(b" bytes"):
                break
        return received


async def stands_still(upload: Upload, served: Served) -> None:
    """Wait until nothing more is taken, while others are served."""

    async def stopped() -> bool:
        before = upload.sent
        for _ in range(5):
            async with served.session.post("/unread") as response:
                assert response.status == 200
        return upload.sent == before > 0

    while not await stopped():
        pass


@both_places
@both_framings
async def test_an_unread_upload_stops_at_the_sockets_buffers(path: str, chunked: bool) -> None:
    """And goes on when it is read, to its last byte."""
    gate = Gate()
    async with serve(gate.app) as served:
        upload = Upload(served, path, chunked)
        sending = asyncio.create_task(upload.send())
        await asyncio.wait_for(stands_still(upload, served), PATIENCE)
        stopped_at = upload.sent
        gate.open.set()
        answer = await upload.answer()
        await sending
        upload.socket.close()

    assert SIZE / 2 > stopped_at
    assert answer.endswith(b"%d bytes" % SIZE)


@pytest.mark.parametrize("size", [0, 5, 10_000])
async def test_after_a_small_unread_body_the_connection_goes_on(size: int) -> None:
    """It has arrived, and is thrown away; the next request is read after it."""
    head = f"POST /unread HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\n\r\n".encode()
    async with serve(Gate().app) as served:
        reader, writer = await connect(served, (head + b"x" * size) * 2)
        for _ in range(2):
            answer = await reader.readuntil(b"not interested")
            assert answer.startswith(b"HTTP/1.1 200 OK")
        writer.close()


@both_framings
async def test_a_large_unread_body_does_not_cost_the_client_its_answer(
    chunked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For a while it is read away, then the connection ends; no reset overtakes the answer."""
    monkeypatch.setattr(_server, "_LINGER", PATIENCE)
    async with serve(Gate().app) as served:
        upload = Upload(served, "/unread", chunked, size=2 << 20)
        await asyncio.wait_for(upload.send(), PATIENCE)
        answer = await upload.answer()
        upload.socket.close()

    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert b"Connection: close" in answer
    assert answer.endswith(b"not interested")


async def test_a_body_without_end_is_not_read_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client has its answer, and so long to see it."""
    monkeypatch.setattr(_server, "_LINGER", 0.05)
    head = b"POST /unread HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n"
    async with serve(Gate().app) as served:
        reader, writer = await connect(served, head + b"x")
        answer = await asyncio.wait_for(reader.read(), PATIENCE)
        await eventually(lambda: not served.server.traffic.in_flight, "the request's end")
        writer.close()

    assert answer.endswith(b"not interested")


async def test_trailers_are_no_headers_and_end_the_connection() -> None:
    """They are read and dropped; what follows them is not taken for a request."""
    seen: list[Any] = []
    gate = Gate()
    gate.open.set()
    gate.app.before_request(lambda: seen.append(dict(request.headers)))
    head = b"POST /loop HTTP/1.1\r\nHost: x\r\nTrailer: X-T\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with serve(gate.app) as served:
        reader, writer = await connect(served, head + b"2\r\nab\r\n0\r\nX-T: v\r\n\r\n" + head)
        answer = await asyncio.wait_for(reader.read(), PATIENCE)
        writer.close()

    assert [None] == [headers.get("X-T") for headers in seen]
    assert 1 == answer.count(b"HTTP/1.1 200 OK")
    assert b"Connection: close" in answer
    assert answer.endswith(b"2 bytes")
