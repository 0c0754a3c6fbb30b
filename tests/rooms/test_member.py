"""What is kept for one member has an end, and nobody waits for it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from flask_aiohttp import Event, Lagged
from flask_aiohttp.rooms._member import Listener, SocketMember
from flask_aiohttp.rooms._message import Message


def text(data: str) -> Message:
    return Message.of(data, json.dumps)


class Transport:
    """A connection whose client reads nothing."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.closing = False

    def write(self, data: bytes) -> None:
        self.sent.append(data)

    def get_write_buffer_size(self) -> int:
        return sum(map(len, self.sent))

    def is_closing(self) -> bool:
        return self.closing


class Socket:
    """A websocket on such a connection."""

    def __init__(self) -> None:
        self.transport = Transport()
        self.over = False


def member(socket: Any, backlog: int = 10) -> tuple[SocketMember, list[SocketMember]]:
    slow: list[SocketMember] = []
    return SocketMember(socket, backlog, slow.append), slow


def test_a_socket_is_sent_frames_until_its_backlog_is_full() -> None:
    """The message after that is not sent, and tells once that the client is too slow."""
    socket = Socket()
    subject, slow = member(socket)

    for number in range(5):
        subject.deliver(text(f"m{number}"))

    assert [b"\x81\x02m0", b"\x81\x02m1", b"\x81\x02m2"] == socket.transport.sent
    assert [subject] == slow


def test_a_message_larger_than_the_backlog_reaches_who_keeps_up() -> None:
    """The backlog is what waits, not the size of a message."""
    socket = Socket()
    subject, slow = member(socket)

    subject.deliver(text("x" * 100))

    assert (1, []) == (len(socket.transport.sent), slow)


@pytest.mark.parametrize("gone", ["over", "closing", "lost"])
def test_a_socket_that_is_gone_is_sent_nothing(gone: str) -> None:
    """Its view will leave the room; until then it is passed over."""
    socket: Any = Socket()
    transport = socket.transport
    if gone == "lost":
        socket.transport = None
    subject, slow = member(socket)
    socket.over = gone == "over"
    transport.closing = gone == "closing"

    subject.deliver(text("hello"))

    assert ([], []) == (transport.sent, slow)


def listener(backlog: int = 10_000) -> tuple[Listener, list[int]]:
    lagged: list[int] = []
    return Listener(backlog, lambda: lagged.append(1), json.loads), lagged


async def test_a_listener_hears_messages_in_their_order() -> None:
    """Text, bytes and JSON, as they were sent."""
    subject, lagged = listener()
    sent: list[Any] = ["text", b"bytes", {"json": [1]}]
    for data in sent:
        subject.deliver(Message.of(data, json.dumps))

    assert sent == [await subject.next() for _ in sent]
    assert [] == lagged


async def test_a_listener_waits_for_what_comes_later() -> None:
    """Also after it has read everything once."""
    subject, _ = listener()
    subject.deliver(text("first"))
    await subject.next()
    waiting = asyncio.create_task(subject.next())
    await asyncio.sleep(0)
    assert not waiting.done()

    subject.deliver(text("second"))

    assert "second" == await waiting


async def test_a_listener_that_is_behind_is_told_how_much_it_has_lost() -> None:
    """The notice stands where the messages would have stood; what comes later is kept."""
    subject, lagged = listener(backlog=320)
    for number in range(8):
        subject.deliver(text(str(number)))

    heard = [await subject.next() for _ in range(3)]

    assert isinstance(heard[0], Lagged)
    assert 6 == heard[0].missed
    assert ["6", "7"] == heard[1:]
    assert [1] == lagged


async def test_a_listener_that_is_behind_keeps_no_more_than_its_backlog() -> None:
    """However much is sent."""
    subject, _ = listener(backlog=1000)
    for _ in range(1000):
        subject.deliver(text("x" * 50))

    missed = (await subject.next()).missed
    assert 980 < missed < 999
    rest = [await subject.next() for _ in range(1000 - missed)]
    assert 0 < len(rest) <= 1000 // 150


def test_a_lagged_notice_is_an_event() -> None:
    """``sse(messages)`` sends it as one of a type of its own."""
    notice = Lagged.by(3)

    assert isinstance(notice, Event)
    assert 'event: lagged\ndata: {"missed": 3}\n\n' == notice.encode()


async def test_a_listener_comes_to_its_end_after_what_is_unread() -> None:
    """And stays there."""
    subject, _ = listener()
    subject.deliver(text("last"))
    subject.end()

    assert "last" == await subject.next()
    for _ in range(2):
        with pytest.raises(StopAsyncIteration):
            await subject.next()
