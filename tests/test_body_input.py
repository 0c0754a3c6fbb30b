"""``wsgi.input`` is a file whose reads wait for what the client has yet to send."""

from __future__ import annotations

import asyncio
import io
import random
import shutil
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp import StreamReader
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http_exceptions import TransferEncodingError
from harness import eventually
from werkzeug.exceptions import ClientDisconnected, RequestTimeout

from flask_aiohttp import ClientGone, _bridge
from flask_aiohttp._body_input import BodyInput
from flask_aiohttp._threads import ThreadPool


def a_body(
    *pieces: bytes, end: bool = True, timeout: float = 20.0, ask: Any = None
) -> tuple[BodyInput, StreamReader]:
    """Return a body of which *pieces* have arrived, and what receives more."""
    loop = asyncio.get_running_loop()
    protocol = BaseProtocol(loop)
    protocol.connection_made(asyncio.Transport())
    content = StreamReader(protocol, limit=2**16, loop=loop)
    for piece in pieces:
        content.feed_data(piece)
    if end:
        content.feed_eof()
    return BodyInput(content, timeout, ask), content


async def start(function: Callable[[], Any]) -> asyncio.Task[Any]:
    """Return a task that runs *function* and waits in it."""
    task = asyncio.create_task(_bridge.run(function))
    await asyncio.sleep(0)
    assert not task.done()
    return task


@pytest.mark.parametrize("size", [None, -1, -2])
async def test_everything_is_read_to_the_end(size: int | None) -> None:
    """Without a size a read returns the whole body, and after that nothing."""
    body, _ = a_body(b"one ", b"two")

    assert b"one two" == await _bridge.run(lambda: body.read(size))
    assert b"" == await _bridge.run(body.read)


async def test_a_read_waits_for_as_much_as_it_was_asked_for() -> None:
    """A short answer means the end of the body, never a slow client."""
    body, content = a_body(b"on", end=False)

    read = await start(lambda: body.read(5))
    content.feed_data(b"e t")
    first = await read
    rest = await start(lambda: body.read(100))
    content.feed_data(b"wo")
    content.feed_eof()

    assert (b"one t", b"wo") == (first, await rest)


async def test_read1_returns_what_has_arrived() -> None:
    """It does not wait for more than something."""
    body, content = a_body(b"one", end=False)

    assert b"on" == await _bridge.run(lambda: body.read1(2))
    assert b"e" == await _bridge.run(lambda: body.read1(2))
    read = await start(body.read1)
    content.feed_data(b"two")
    assert b"two" == await read


@pytest.mark.parametrize("name", ["read", "read1", "readline"])
async def test_to_read_nothing_waits_for_nothing(name: str) -> None:
    """To ask for no bytes never suspends the caller."""
    body, _ = a_body(end=False)

    assert b"" == await asyncio.wait_for(_bridge.run(lambda: getattr(body, name)(0)), 20)


async def test_a_line_is_returned_as_soon_as_it_ends() -> None:
    """Its newline may come alone, and nothing after it is waited for."""
    body, content = a_body(b"one", end=False)

    line = await start(body.readline)
    content.feed_data(b"\n")

    assert b"one\n" == await asyncio.wait_for(line, 20)


@pytest.mark.parametrize("seed", range(20))
async def test_it_reads_like_any_binary_file(seed: int) -> None:
    """Whatever the pieces that arrive, reads return what they would return from memory."""
    chance = random.Random(seed)
    pieces = [bytes(chance.choices(b"ab\n", k=chance.randrange(1, 9))) for _ in range(30)]
    memory = io.BytesIO(b"".join(pieces))
    body, content = a_body(end=False)

    def feed() -> None:
        if pieces:
            content.feed_data(pieces.pop(0))
            asyncio.get_running_loop().call_soon(feed)
        else:
            content.feed_eof()

    def read_both() -> None:
        while True:
            size = chance.randrange(-1, 12)
            name = chance.choice(["read", "readline", "readinto"])
            if name == "readinto":
                ours, theirs = bytearray(size + 1), bytearray(size + 1)
                assert memory.readinto(theirs) == body.readinto(ours)
            else:
                theirs, ours = getattr(memory, name)(size), getattr(body, name)(size)
                if not theirs and size:
                    return
            assert theirs == ours

    feed()
    await _bridge.run(read_both)

    assert b"" == await _bridge.run(body.read)


async def test_it_can_be_iterated_wrapped_and_copied() -> None:
    """Code that takes binary files takes it."""
    lines, _ = a_body(b"one\ntw", b"o\n\nthree")
    text, _ = a_body(b"caf\xc3", b"\xa9\n")
    copied, _ = a_body(b"one", b"two")
    target = io.BytesIO()

    assert [b"one\n", b"two\n", b"\n", b"three"] == await _bridge.run(lambda: list(lines))
    assert "caf\xe9\n" == await _bridge.run(lambda: io.TextIOWrapper(text, "utf-8").read())
    await _bridge.run(lambda: shutil.copyfileobj(copied, target))
    assert b"onetwo" == target.getvalue()
    assert (True, False, False) == (lines.readable(), lines.writable(), lines.seekable())


async def test_a_thread_reads_the_same() -> None:
    """In a thread of the pool the thread waits, and the loop goes on to receive."""
    body, content = a_body(b"one ", end=False)
    pool = ThreadPool(1)
    first = asyncio.Event()

    def read() -> bytes:
        begin = body.read(4)
        pool.post(first.set)
        return begin + body.readline() + body.read()

    task = asyncio.create_task(pool.run(read))
    await first.wait()
    for piece in (b"tw", b"o\nthr", b"ee"):
        content.feed_data(piece)
        await asyncio.sleep(0)
    content.feed_eof()

    assert b"one two\nthree" == await task
    pool.stop()


@pytest.mark.parametrize(
    "error",
    [ConnectionResetError("gone"), TransferEncodingError("not a chunk"), OSError("broken")],
    ids=["reset", "malformed", "other"],
)
@pytest.mark.parametrize("name", ["read", "readline", "read1"])
async def test_a_body_cut_short_is_an_error_and_never_a_short_body(
    name: str, error: Exception
) -> None:
    """Flask and asyncio code both know the error by a name of theirs, at each read."""
    body, content = a_body(b"begi", end=False)
    await _bridge.run(lambda: body.read(4))

    read = await start(getattr(body, name))
    content.set_exception(error)

    with pytest.raises(ClientGone, match="while the server was reading the request body") as caught:
        await read
    assert isinstance(caught.value, ConnectionError)
    assert isinstance(caught.value, ClientDisconnected)
    assert error is caught.value.__cause__
    with pytest.raises(ClientDisconnected):
        await _bridge.run(body.read)


async def test_a_client_that_stands_still_is_given_up() -> None:
    """The error is a timeout, a client that is gone, and for Flask a 408."""
    body, _ = a_body(b"begi", end=False, timeout=0.01)

    with pytest.raises(ClientGone, match=r"nothing .* arrived for 0\.01 seconds") as caught:
        await _bridge.run(body.read)

    assert isinstance(caught.value, RequestTimeout)
    assert isinstance(caught.value, TimeoutError)
    assert 408 == caught.value.code


async def test_a_cancelled_read_is_no_lost_client() -> None:
    """Cancellation passes as what it is."""
    body, _ = a_body(end=False)

    read = await start(body.read)
    read.cancel()
    await asyncio.wait({read})

    assert read.cancelled()


async def test_the_client_is_asked_for_its_body_once_and_not_before_it_is_read() -> None:
    """A view that refuses an upload unread lets the client keep it (100 Continue)."""
    asked: list[str] = []
    body, content = a_body(end=False, ask=lambda: asked.append("asked"))

    before = list(asked)
    read = await start(body.read)
    content.feed_data(b"one")
    await eventually(lambda: asked, "the question")
    content.feed_data(b"two")
    content.feed_eof()

    assert [] == before
    assert b"onetwo" == await read
    assert ["asked"] == asked


async def test_a_body_that_is_complete_is_not_asked_for() -> None:
    """There is nothing left to send."""
    asked: list[str] = []
    body, _ = a_body(ask=lambda: asked.append("asked"))

    assert b"" == await _bridge.run(body.read)
    assert [] == asked
