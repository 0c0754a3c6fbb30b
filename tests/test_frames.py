"""Frames reach aiohttp's reader as they came, but for those that RFC 6455 forbids."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from random import Random

import pytest
from harness import eventually
from raw_websocket import frame

from flask_aiohttp._frames import FrameGuard

BREACH = b"\x83\x80\x00\x00\x00\x00"

FRAMES = [
    frame(1, b"hello"),
    frame(1, b""),
    frame(2, b"x" * 125),
    frame(2, b"x" * 126),
    frame(2, b"x" * 70_000),
    frame(1, b"one", first=0) + frame(9, b"ping") + frame(0, b"two"),
    frame(8, b"\x03\xe8"),
    frame(1, b"\x81\x05\x81\x05", mask=b"\x01\x02\x03\x04"),
]


class Reader:
    """Keeps what it is given."""

    def __init__(self) -> None:
        self.data = b""
        self.ended = False

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        self.data += data
        return True, b"ignored"

    def feed_eof(self) -> None:
        self.ended = True


def pieces(data: bytes, seed: int) -> list[bytes]:
    """Return *data* in pieces of any size, one byte among them."""
    random = Random(seed)
    cuts = sorted(random.sample(range(1, len(data)), min(50, len(data) - 1)))
    return [data[a:b] for a, b in pairwise([0, *cuts, len(data)])]


@pytest.mark.parametrize("seed", range(20))
async def test_frames_are_passed_on_however_they_are_split(seed: int) -> None:
    """Nothing is lost, doubled or out of order, whatever a read brings."""
    reader = Reader()
    guard = FrameGuard(reader)
    frames = Random(seed).choices(FRAMES, k=30)

    for piece in pieces(b"".join(frames), seed):
        assert (False, b"") == guard.feed_data(piece)

    assert b"".join(frames) == reader.data


@pytest.mark.parametrize("good", FRAMES)
@pytest.mark.parametrize(
    "bad",
    [
        b"\x81\x05hello",
        b"\x81\x00",
        b"\x81\xfe\x00\x7d" + bytes(4) + b"x" * 125,
        b"\x81\xfe\x00\x05" + bytes(4) + b"hello",
        b"\x81\xff" + (65535).to_bytes(8, "big") + bytes(4),
        b"\x82\x7e\x00\x80" + b"x" * 128,
    ],
)
@pytest.mark.parametrize("step", [1, 7, 100_000])
async def test_forbidden_frame_is_a_breach_after_those_before_it(
    good: bytes, bad: bytes, step: int
) -> None:
    """No mask, or a length in more bytes than it needs: the reader gets an error instead."""
    reader = Reader()
    guard = FrameGuard(reader)
    data = good + bad

    for start in range(0, len(data), step):
        guard.feed_data(data[start : start + step])
        if reader.data.endswith(BREACH):
            break

    assert good + BREACH == reader.data


async def test_message_that_takes_too_long_is_reported() -> None:
    """Also where fragments keep coming; one that ends in time is forgotten."""
    late: list[str] = []
    guard = FrameGuard(Reader())
    guard.limit(0.05, lambda: late.append("late"))

    guard.feed_data(frame(1, b"whole"))
    guard.feed_data(frame(1, b"half", first=0))
    guard.feed_data(frame(0, b"half"))
    await asyncio.sleep(0.06)
    guard.feed_data(frame(9, b"ping"))
    assert [] == late

    guard.feed_data(frame(1, b"endless", first=0))
    for _ in range(10_000):
        guard.feed_data(frame(0, b"", first=0))
        await asyncio.sleep(0.001)
        if late:
            break

    assert ["late"] == late


@pytest.mark.parametrize("part", [b"\x81", frame(1, b"hello")[:-1], frame(1, b"x", first=0)])
async def test_each_kind_of_half_message_is_late(part: bytes) -> None:
    """A part of a header, of a payload, of the fragments; also if it came with the handshake."""
    late: list[str] = []
    guard = FrameGuard(Reader())
    guard.feed_data(part)
    guard.limit(0.01, lambda: late.append("late"))

    await eventually(lambda: late, "the report")


async def test_end_of_the_connection_is_passed_on_and_nothing_is_late_after_it() -> None:
    """The timer ends with the connection."""
    late: list[str] = []
    reader = Reader()
    guard = FrameGuard(reader)
    guard.limit(0.01, lambda: late.append("late"))
    guard.feed_data(b"\x81")

    guard.feed_eof()
    await asyncio.sleep(0.03)

    assert reader.ended
    assert [] == late
