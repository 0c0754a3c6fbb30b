"""Accepting: a few at a time, no more than there is room for, and after any failure again."""

from __future__ import annotations

import asyncio
import errno
import itertools
import logging
import socket
import ssl
import struct
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
from aiohttp import web
from harness import eventually, get

from flask_aiohttp import _listener
from flask_aiohttp._connections import Connections
from flask_aiohttp._listener import Listener
from flask_aiohttp._protocol import Protocol

LOG = logging.getLogger("listener")


class Server:
    """Answers each request with 204, on one listener."""

    def __init__(self, sock: socket.socket, room: int, context: ssl.SSLContext | None) -> None:
        self.address = sock.getsockname()
        self.connections = Connections(room)
        self.accepted = self.most = 0
        manager = web.Server(self.answer)

        def connect() -> Protocol:
            self.accepted += 1
            return Protocol(
                manager,
                loop=asyncio.get_running_loop(),
                server="x",
                head_timeout=60,
                lost=self.connections.discard,
            )

        self.listener = Listener(sock, connect, self.connections, ssl_context=context, logger=LOG)

    async def answer(self, _: web.BaseRequest) -> web.Response:
        self.most = max(self.most, len(self.connections))
        return web.Response(status=204)


@asynccontextmanager
async def listening(
    sock: socket.socket | None = None, room: int = 100, context: ssl.SSLContext | None = None
) -> AsyncIterator[Server]:
    server = Server(sock or socket.create_server(("127.0.0.1", 0)), room, context)
    try:
        yield server
    finally:
        server.listener.close()
        server.listener.abandon()
        # What was taken from the queue is being set up.
        await eventually(lambda: not server.listener._setups, "the last connections")
        for connection in server.connections:
            connection.force_close()
        await eventually(lambda: not len(server.connections), "the end of the connections")


@contextmanager
def clients(server: Server, number: int) -> Iterator[list[socket.socket]]:
    """Connect; the kernel does that alone."""
    made = [socket.create_connection(server.address) for _ in range(number)]
    try:
        yield made
    finally:
        for client in made:
            client.close()


async def ask(client: socket.socket) -> bytes:
    """Send a request, and return the first bytes of its answer."""
    client.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(client, get("/"))
    return await loop.sock_recv(client, 12)


class Failing(socket.socket):
    """Fails to accept, as often as is wanted."""

    failures = 0
    error = errno.EMFILE

    def accept(self) -> tuple[socket.socket, object]:
        if self.failures:
            self.failures -= 1
            raise OSError(self.error, "nothing left")
        return super().accept()


def failing(failures: int, error: int = errno.EMFILE) -> Failing:
    sock = Failing()
    sock.bind(("127.0.0.1", 0))
    sock.listen()
    sock.failures = failures
    sock.error = error
    return sock


async def test_a_turn_of_the_loop_accepts_few() -> None:
    """A burst is left to the neighbours too, who listen on the same socket."""
    sock = socket.create_server(("127.0.0.1", 0))
    waiting = [socket.create_connection(sock.getsockname()) for _ in range(20)]
    seen = [0]

    async with listening(sock) as server:
        for _ in range(1000):
            seen.append(len(server.connections))
            await asyncio.sleep(0)

    for client in waiting:
        client.close()
    assert 20 == seen[-1]
    assert _listener._AT_ONCE == max(b - a for a, b in itertools.pairwise(seen))


async def test_the_queue_is_as_long_as_its_owner_said() -> None:
    """Nobody calls listen() again: the backlog is gunicorn's setting."""
    sock = socket.create_server(("127.0.0.1", 0), backlog=7)

    async with listening(sock):
        await asyncio.sleep(0)
        # Of a listening socket, tcpi_sacked is the backlog: eight bytes and five words in.
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 32)

    assert (7,) == struct.unpack_from("I", info, 28)


async def connections_beyond_the_ceiling_wait() -> None:
    async with listening(room=3) as server:
        with clients(server, 5) as made:
            answers = [asyncio.create_task(ask(client)) for client in made]
            await eventually(lambda: sum(a.done() for a in answers) == 3, "three answers")
            accepted = len(server.connections)
            for client, answer in zip(made, answers, strict=True):
                if answer.done():
                    client.close()
            both = [await answer for answer in answers]

    assert 3 == accepted == server.most
    assert [b"HTTP/1.1 204"] * 5 == both


async def accepting_survives_a_want_of_files() -> None:
    async with listening(failing(3)) as server:
        with clients(server, 1) as [client]:
            assert b"HTTP/1.1 204" == await ask(client)


@pytest.mark.parametrize(
    "scenario", [connections_beyond_the_ceiling_wait, accepting_survives_a_want_of_files]
)
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_on_both_loops(
    scenario: Callable[[], Awaitable[None]],
    loop: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """At the ceiling connections wait in the kernel, and are served when there is room again;
    without file descriptors the listener waits, and says so once.
    """
    monkeypatch.setattr(_listener, "_PAUSE", 0.01)
    module = pytest.importorskip(loop)
    running = module.new_event_loop()
    try:
        running.run_until_complete(scenario())
    finally:
        running.close()

    failed = scenario is accepting_survives_a_want_of_files
    assert failed == caplog.text.count("Cannot accept connections")


async def test_a_client_that_left_the_queue_is_no_failure(caplog: pytest.LogCaptureFixture) -> None:
    """The kernel may say so; the next one is accepted at once."""
    async with listening(failing(1, errno.ECONNABORTED)) as server:
        with clients(server, 1) as [client]:
            assert b"HTTP/1.1 204" == await ask(client)

    assert "" == caplog.text


async def test_a_listener_that_closes_takes_the_queue_along() -> None:
    """To close the socket would reset who is connected and not accepted yet."""
    sock = socket.create_server(("127.0.0.1", 0))
    made = [socket.create_connection(sock.getsockname()) for _ in range(10)]

    async with listening(sock) as server:
        server.listener.close()
        server.listener.close()
        answers = [await ask(client) for client in made]

    for client in made:
        client.close()
    assert [b"HTTP/1.1 204"] * 10 == answers


async def test_a_listener_that_pauses_can_be_closed(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is accepted later, neither after a failure nor when there is room again."""
    monkeypatch.setattr(_listener, "_PAUSE", 0.0)
    async with listening(failing(1000)) as failed, listening(room=1) as full:
        with clients(failed, 1), clients(full, 2) as [client, _]:
            await ask(client)
            await eventually(lambda: "Cannot accept" in caplog.text, "the failure")
            failed.listener.close()
            full.listener.close()
            client.close()
            await eventually(lambda: len(full.connections) == 1, "the end of a connection")

    assert 1 == caplog.text.count("Cannot accept")


@pytest.fixture(name="context")
def _context(require: Callable[[str], str], tmp_path: Path) -> ssl.SSLContext:
    command = "req -x509 -newkey rsa:2048 -nodes -subj /CN=x -keyout key -out cert"
    subprocess.run(
        [require("openssl"), *command.split()], cwd=tmp_path, check=True, capture_output=True
    )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "cert", tmp_path / "key")
    return context


@pytest.mark.parametrize("words", [b"", b"GET / HTTP/1.1\r\n\r\n"], ids=["silent", "no TLS"])
async def test_a_handshake_that_fails_is_nobodys_traceback(
    context: ssl.SSLContext,
    words: bytes,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A client that is silent or speaks something else is left, and counted no more.

    The second is one line in the log.
    """
    monkeypatch.setattr(_listener, "_HANDSHAKE_TIMEOUT", 0.5)
    caplog.set_level(logging.INFO)

    async with listening(context=context) as server:
        with clients(server, 1) as [client]:
            client.sendall(words)
            await eventually(lambda: server.accepted, "the connection")
            await eventually(lambda: not len(server.connections), "its end")

    assert bool(words) is ("Invalid request from ip=127.0.0.1: [SSL" in caplog.text)
    assert len(caplog.records) == bool(words)
    assert "Traceback" not in caplog.text


async def test_a_handshake_under_way_can_be_given_up(context: ssl.SSLContext) -> None:
    """A stop that is at its end does not wait for it."""
    async with listening(context=context) as server:
        with clients(server, 1):
            await eventually(lambda: len(server.connections), "the connection")
            server.listener.abandon()
            await eventually(lambda: not len(server.connections), "its end")
