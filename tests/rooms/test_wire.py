"""What workers say to each other comes out as it went in, and only they say it."""

from __future__ import annotations

import asyncio
import os
import re

import pytest

from flask_aiohttp.rooms._directory import names_in, path_of, private_directory
from flask_aiohttp.rooms._frames import (
    BadFrame,
    FrameReader,
    Type,
    decode_message,
    decode_question,
    encode,
    encode_message,
    encode_question,
)
from flask_aiohttp.rooms._message import Kind, Message

from .conftest import workers
from .test_directory import CONNECT, as_nobody, needs_root

FRAMES = [
    (Type.HELLO, b"key\nname"),
    (Type.READY, b""),
    (Type.MESSAGE, b"x" * 70_000),
    (Type.BYE, b""),
]
STREAM = b"".join(encode(*frame) for frame in FRAMES)


@pytest.mark.parametrize("size", [1, 4, 5, 7, 1000, len(STREAM)])
def test_frames_come_out_of_any_pieces(size: int) -> None:
    """However the stream is cut."""
    reader = FrameReader()
    taken = []
    for start in range(0, len(STREAM), size):
        reader.feed(STREAM[start : start + size])
        while frame := reader.take():
            taken.append(frame)

    assert FRAMES == taken


@pytest.mark.parametrize(
    "stream", [b"\xff" * 5, b"\x00\x00\x00\x00\x00", b"\x00\x00\x00\x00\x09", b"GET /"]
)
def test_what_is_no_frame_is_refused_at_once(stream: bytes) -> None:
    """A length that no frame has, or a type."""
    reader = FrameReader()
    reader.feed(stream)

    with pytest.raises(BadFrame):
        reader.take()


@pytest.mark.parametrize("kind", list(Kind))
@pytest.mark.parametrize("room", ["a", "ü" * 100, "x" * 65535])
def test_a_message_comes_out_as_it_went_in(kind: Kind, room: str) -> None:
    """Its room, its kind and its payload."""
    name, message = decode_message(encode_message(room, Message(kind, b"payload")))

    assert (room, kind, b"payload") == (name, message.kind, message.payload)


def test_a_question_comes_out_as_it_went_in() -> None:
    """The largest number too."""
    reader = FrameReader()
    reader.feed(encode_question(Type.COUNT, 0xFFFFFFFF, "ü"))
    frame = reader.take()

    assert frame is not None
    assert Type.COUNT is frame[0]
    assert (0xFFFFFFFF, "ü") == decode_question(frame[1])


@needs_root
async def test_another_user_is_refused_even_with_the_key(
    runtime: object,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """If somebody has opened the directory, the kernel still tells who is there."""
    async with workers() as make:
        await make().listen("a")
        directory = private_directory("key")
        path = path_of(directory, names_in(directory)[0])
        for opened in (path.parent.parent, path.parent, path):
            os.chmod(opened, 0o777)
        hello = encode(Type.HELLO, b"key\n1-00000000").hex()
        tried = await asyncio.to_thread(as_nobody, CONNECT, str(path), hello)
        os.chmod(path.parent, 0o700)

    assert "b''\n" == tried.stdout or re.search("ConnectionReset|BrokenPipe", tried.stderr)
    assert "user 65534 has connected" in caplog.text


async def test_this_user_is_answered_with_the_key(runtime: object) -> None:
    """So that the other tests say something."""
    async with workers() as make:
        await make().listen("a")
        directory = private_directory("key")
        path = path_of(directory, names_in(directory)[0])
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(encode(Type.HELLO, b"key\n1-00000000"))
        answer = await reader.readuntil(b"key\n")
        writer.close()
        await writer.wait_closed()

    assert answer.endswith(b"\x01key\n")
