"""Many websocket clients that expect the very same stream of messages.

What each of them is to receive is known byte by byte before anything is sent. So one comparison of
what has come with what was due tells whether each message came, once and in its order, and costs
less than to read them one by one: on the same machine the clients must not be what is measured.
"""

from __future__ import annotations

import asyncio
import base64
import os
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

__all__ = ("OURS", "SOCKETIO", "Dialect", "Outcome", "run")

# A ping of a server without content, and what a client answers.
_PING = b"\x89\x00"
_PONG = b"\x8a\x80\0\0\0\0"

# Seconds for which nothing may come before a run is given up.
PATIENCE = 60.0


def frame(payload: bytes, *, masked: bool) -> bytes:
    """Return one websocket text frame; the mask of a client is zero, which changes nothing."""
    bit, mask = (0x80, b"\0\0\0\0") if masked else (0, b"")
    if len(payload) < 126:
        return bytes((0x81, bit | len(payload))) + mask + payload
    return bytes((0x81, bit | 126)) + len(payload).to_bytes(2, "big") + mask + payload


@dataclass(frozen=True)
class Dialect:
    """How a server is spoken to."""

    join: str
    speak: str
    # Sent by a member, and by the speaker, after the handshake.
    join_hello: tuple[bytes, ...]
    speak_hello: tuple[bytes, ...]
    # A message as the speaker sends it, and as members receive it.
    said: Callable[[bytes], bytes]
    heard: Callable[[bytes], bytes]
    # What the last message before the stream begins with.
    ready: bytes


OURS = Dialect("/join", "/speak", (), (), lambda m: m, lambda m: m, b"ready ")
_EIO = "/socket.io/?EIO=4&transport=websocket"
SOCKETIO = Dialect(
    _EIO,
    _EIO,
    (b"40", b'42["join"]'),
    (b"40", b'42["hello"]'),
    lambda m: b'42["speak","%b"]' % m,
    lambda m: b'42["m","%b"]' % m,
    b'42["ready",',
)


@dataclass
class Outcome:
    """What became of one run."""

    members: int
    messages: int
    # Members by the process that serves them.
    spread: dict[str, int]
    # Members that have received exactly the stream, and seconds from the first to the last byte.
    exact: int
    seconds: float
    # Seconds from a message's sending to its arrival, of some of the members, in order.
    delays: list[float] = field(repr=False)

    def percentile(self, percent: float) -> float:
        return self.delays[min(len(self.delays) - 1, int(len(self.delays) * percent / 100))]


class Client(asyncio.Protocol):
    """One websocket."""

    def __init__(self, path: str, hello: tuple[bytes, ...], ready: bytes) -> None:
        loop = asyncio.get_running_loop()
        self._path = path
        self._hello = hello
        self._ready = ready
        self._buffer = b""
        self.ready: asyncio.Future[str] = loop.create_future()
        self.transport: asyncio.Transport | None = None
        self.stream: Stream | None = None
        self.received = 0
        self.wrong = False
        # The beginning of a ping.
        self.rest = b""
        self.watched = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        key = base64.b64encode(os.urandom(16)).decode()
        transport.write(
            f"GET {self._path} HTTP/1.1\r\nHost: {transport.get_extra_info('peername')[0]}\r\n"
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Key: {key}\r\n\r\n".encode()
        )

    def data_received(self, data: bytes) -> None:
        if self.stream is not None:
            self.stream.hear(self, data)
            return
        if self.ready.done():
            # The speaker, or a member between two runs: nothing but pings comes.
            if self.transport is not None:
                self.transport.write(_PONG * data.count(_PING))
            return
        self._buffer += data
        if self._hello and b"\r\n\r\n" in self._buffer:
            assert self.transport is not None
            self.transport.write(b"".join(frame(said, masked=True) for said in self._hello))
            self._hello = ()
        before, found, rest = self._buffer.partition(self._ready)
        # A frame of fewer than 126 bytes, whose length stands just before.
        if found and len(found + rest) >= before[-1]:
            self.ready.set_result(rest.strip(b' ]"').decode())

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.ready.done():
            self.ready.set_exception(ConnectionError(f"refused: {self._buffer[:200]!r}"))
        if self.stream is not None:
            self.stream.lost(self)


class Stream:
    """The stream that all members are to receive."""

    def __init__(self, members: list[Client], dialect: Dialect, messages: int, size: int) -> None:
        self.payloads = [b"%08d" % number + b"x" * (size - 8) for number in range(messages)]
        frames = [frame(dialect.heard(payload), masked=False) for payload in self.payloads]
        self._frame_size = len(frames[0])
        self._due = b"".join(frames)
        self.sent_at = [0.0] * messages
        self.delays: list[float] = []
        self.last = 0.0
        self.done = asyncio.Event()
        self._waiting = {id(member) for member in members}
        for number, member in enumerate(members):
            member.stream = self
            member.received = 0
            member.watched = number % 10 == 0

    def hear(self, member: Client, data: bytes) -> None:
        now = time.perf_counter()
        before = member.received
        if not member.rest and self._due[before : before + len(data)] == data:
            member.received += len(data)
        else:
            self._hear_in_pieces(member, data)
        if member.watched:
            for number in range(before // self._frame_size, member.received // self._frame_size):
                self.delays.append(now - self.sent_at[number])
        if member.received >= len(self._due):
            self.last = now
            self.lost(member)

    def _hear_in_pieces(self, member: Client, data: bytes) -> None:
        """The server may ask between two messages whether the client is there."""
        data = member.rest + data
        member.rest = b""
        while data:
            into = member.received % self._frame_size
            if not into and data[0] == _PING[0]:
                if len(data) < len(_PING):
                    member.rest = data
                    return
                data = data[len(_PING) :]
                if member.transport is not None:
                    member.transport.write(_PONG)
                continue
            piece, data = data[: self._frame_size - into], data[self._frame_size - into :]
            end = member.received + len(piece)
            if self._due[member.received : end] != piece:
                member.wrong = True
            member.received = end

    def lost(self, member: Client) -> None:
        self._waiting.discard(id(member))
        if not self._waiting:
            self.done.set()

    def is_exact(self, member: Client) -> bool:
        return member.received == len(self._due) and not member.wrong


async def connect(url: str, path: str, hello: tuple[bytes, ...], ready: bytes) -> Client:
    parts = urlsplit(url)
    _, client = await asyncio.get_running_loop().create_connection(
        lambda: Client(path, hello, ready), parts.hostname, parts.port
    )
    return client


async def run(
    urls: list[str], dialect: Dialect, sockets: int, runs: list[tuple[int, float]], size: int = 100
) -> list[Outcome]:
    """Let *sockets* members hear one speaker, once for each of *runs*.

    Args:
        urls: The servers; members are spread over them.
        runs: How many messages, and how many of them in a second; 0 is as many as can be.
        size: Bytes of each message.
    """
    members: list[Client] = []
    for start in range(0, sockets, 50):
        group = [
            await connect(urls[number % len(urls)], dialect.join, dialect.join_hello, dialect.ready)
            for number in range(start, min(start + 50, sockets))
        ]
        await asyncio.wait_for(asyncio.gather(*(member.ready for member in group)), PATIENCE)
        members += group
    speaker = await connect(urls[0], dialect.speak, dialect.speak_hello, dialect.ready)
    await asyncio.wait_for(speaker.ready, PATIENCE)
    assert speaker.transport is not None
    outcomes = []
    for messages, rate in runs:
        stream = Stream(members, dialect, messages, size)
        started = time.perf_counter()
        for number, payload in enumerate(stream.payloads):
            if rate:
                await asyncio.sleep(max(0.0, started + number / rate - time.perf_counter()))
            stream.sent_at[number] = time.perf_counter()
            speaker.transport.write(frame(dialect.said(payload), masked=True))
        progress = -1
        while not stream.done.is_set():
            so_far = sum(member.received for member in members)
            if so_far == progress:
                break
            progress = so_far
            await asyncio.wait({asyncio.ensure_future(stream.done.wait())}, timeout=PATIENCE)
        # One that comes twice comes after its time.
        await asyncio.sleep(0.2)
        outcomes.append(
            Outcome(
                len(members),
                messages,
                dict(Counter(member.ready.result() for member in members)),
                sum(map(stream.is_exact, members)),
                stream.last - stream.sent_at[0],
                sorted(stream.delays),
            )
        )
    for client in (*members, speaker):
        if client.transport is not None:
            client.stream = None
            client.transport.abort()
    return outcomes
