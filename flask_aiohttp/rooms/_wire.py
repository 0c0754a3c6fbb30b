"""One connection between two workers of a machine.

Rule 1: nobody is listened to who is not this user and has not shown the key.
Rule 2: what is sent keeps its order. What waits to be sent has an end: a sender waits for a worker
        that is behind, and is not sent what that one could not take in time.
"""

from __future__ import annotations

import asyncio
import hmac
import math
import os
import socket
import struct
import time
from typing import Protocol, cast

from ._frames import (
    BadFrame,
    FrameReader,
    Type,
    decode_message,
    decode_question,
    encode,
    encode_question,
)
from ._message import Message

__all__ = ("Owner", "Wire")

# Bytes that wait to be sent before senders wait too, and above which nothing is added.
_HIGH_WATER = 1024 * 1024
_MAX_WAITING = 64 * 1024 * 1024

# Seconds that a connection has for showing the key.
_HELLO_TIMEOUT = 5.0

# Seconds for which frames are acted on before the loop has another turn.
_SLICE = 0.01

_CREDENTIALS = struct.Struct("3i")


class Owner(Protocol):
    """What a wire tells what it hears."""

    key: bytes

    def hello(self, wire: Wire, name: str) -> None:
        """The other side has shown the key, and is called *name*."""

    def lost(self, wire: Wire, bad: str | None) -> None:
        """The connection has ended; *bad* says what was wrong with it, if anything was."""

    def deliver(self, room: str, message: Message) -> None:
        """A message has come."""

    def count(self, room: str) -> int:
        """Return this worker's members in *room*."""


class Wire(asyncio.Protocol):
    """One side of a connection.

    Args:
        owner: Told what is heard.
        name: The other worker's; None if that one has connected and not said it yet.
    """

    def __init__(self, owner: Owner, name: str | None = None) -> None:
        self._owner = owner
        self.name = name

        # The other worker's rooms that have members: the same set on each connection with it.
        self.rooms: set[str] = set()

        # Resolved when the other has named all its rooms, or never will.
        loop = asyncio.get_running_loop()
        self.ready: asyncio.Future[None] = loop.create_future()

        # Set while more may be sent.
        self.writable = asyncio.Event()
        self.writable.set()

        # True while the other takes nothing, and senders have waited long enough for it.
        self.stalled = False

        # Resolved when the connection has ended.
        self.closed: asyncio.Future[None] = loop.create_future()

        # Questions without an answer, by their numbers.
        self._questions: dict[int, asyncio.Future[int]] = {}
        self._last_number = 0

        self._reader = FrameReader()
        self._known = False
        self._bad: str | None = None
        self._transport: asyncio.Transport | None = None
        # One that was connected to may be busy; one that has connected has no excuse.
        self._timer = loop.call_later(_HELLO_TIMEOUT, self.abort) if name is None else None

        # True while frames wait for the loop's next turn.
        self._paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Look who it is."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=_HIGH_WATER)
        user = _user_of(transport.get_extra_info("socket"))
        if user not in (None, os.geteuid()):
            self._refuse(f"user {user} has connected to it")

    def data_received(self, data: bytes) -> None:
        """Act on each frame, but let others have the loop too: a message may have many members."""
        self._reader.feed(data)
        self._work()

    def _work(self, slice_: float = _SLICE) -> None:
        deadline = time.monotonic() + slice_
        try:
            while self._bad is None and (frame := self._reader.take()) is not None:
                if self._known:
                    self._act(*frame)
                else:
                    self._greet(*frame)
                if time.monotonic() > deadline:
                    self._pause(True)
                    asyncio.get_running_loop().call_soon(self._work)
                    return
        except (ValueError, struct.error) as error:
            self._refuse(f"what was sent is no frame: {error}")
        self._pause(False)

    def _pause(self, paused: bool) -> None:
        transport = self._transport
        if self._paused is not paused and transport is not None and not transport.is_closing():
            self._paused = paused
            (transport.pause_reading if paused else transport.resume_reading)()

    def _greet(self, kind: Type, body: bytes) -> None:
        key, _, name = body.partition(b"\n")
        if kind is not Type.HELLO or not hmac.compare_digest(key, self._owner.key):
            self._refuse("somebody without its key has connected to it")
            return
        self._known = True
        self._end_timer()
        self._owner.hello(self, name.decode())

    def _act(self, kind: Type, body: bytes) -> None:
        if kind is Type.MESSAGE:
            self._owner.deliver(*decode_message(body))
        elif kind is Type.ENTER:
            number, room = decode_question(body)
            self.rooms.add(room)
            if number:
                self._answer(number, 0)
        elif kind is Type.LEAVE:
            self.rooms.discard(body.decode())
        elif kind is Type.COUNT:
            number, room = decode_question(body)
            self._answer(number, self._owner.count(room))
        elif kind is Type.ANSWER:
            number, answer = struct.unpack("!II", body)
            question = self._questions.pop(number, None)
            if question is not None and not question.done():
                question.set_result(answer)
        elif kind is Type.READY:
            _resolve(self.ready)
        elif kind is Type.BYE:
            self.close()
        else:
            raise BadFrame(f"{kind.name} in the middle")

    def _answer(self, number: int, answer: int) -> None:
        self.send(encode(Type.ANSWER, struct.pack("!II", number, answer)))

    def send(self, frame: bytes) -> bool:
        """Send a frame, and return False if there is no room for it."""
        transport = self._transport
        if transport is None or transport.is_closing():
            # The other has left, or is about to: there is nobody who misses it.
            return True
        if transport.get_write_buffer_size() > _MAX_WAITING:
            return False
        transport.write(frame)
        return True

    def ask(self, kind: Type, room: str) -> asyncio.Future[int]:
        """Send a question, and return its answer: 0 from a worker that is gone meanwhile."""
        question: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        if self.closed.done():
            question.set_result(0)
            return question
        self._last_number = self._last_number % 0xFFFFFFFF + 1
        self._questions[self._last_number] = question
        self.send(encode_question(kind, self._last_number, room))
        return question

    def pause_writing(self) -> None:
        """The other is behind."""
        self.writable.clear()

    def resume_writing(self) -> None:
        """The other has caught up."""
        self.stalled = False
        self.writable.set()

    def close(self) -> None:
        """End the connection after what is on its way."""
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """End the connection at once."""
        if self._transport is not None:
            self._transport.abort()

    def _end_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _refuse(self, why: str) -> None:
        self._bad = why
        self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell everybody who waits."""
        self._end_timer()
        # What came before the end is not lost with it.
        self._work(math.inf)
        self.writable.set()
        _resolve(self.ready)
        _resolve(self.closed)
        for question in self._questions.values():
            if not question.done():
                question.set_result(0)
        self._questions.clear()
        self._owner.lost(self, self._bad)


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _user_of(sock: socket.socket) -> int | None:
    """Return the user id of the process at the other end; None where the system does not tell."""
    if not hasattr(socket, "SO_PEERCRED"):
        return None
    credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return cast("int", _CREDENTIALS.unpack(credentials)[1])
