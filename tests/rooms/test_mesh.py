"""The workers of one machine, here in one process: who is in a room hears what all others send."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from harness import PATIENCE, eventually

from flask_aiohttp.rooms import _mesh, _wire
from flask_aiohttp.rooms._directory import names_in, path_of, private_directory
from flask_aiohttp.rooms._frames import Type, encode, encode_question
from flask_aiohttp.rooms._member import Listener
from flask_aiohttp.rooms._message import Message

from .conftest import workers

pytestmark = pytest.mark.usefixtures("runtime")


async def hear(listener: Listener, number: int) -> list[Any]:
    return [await asyncio.wait_for(listener.next(), PATIENCE) for _ in range(number)]


async def test_a_message_reaches_the_members_in_all_workers() -> None:
    """Text, bytes and JSON; the sender's own too."""
    async with workers() as make:
        here, there, other = make(), make(), make()
        listeners = [await worker.listen("a") for worker in (here, there, other)]
        sent = ["text", b"bytes\x00", {"json": [1, "ü"]}]
        for data in sent:
            assert await here.send("a", data)

        assert [sent] * 3 == [await hear(listener, 3) for listener in listeners]


async def test_what_is_sent_after_a_member_has_joined_reaches_it() -> None:
    """When ``join`` returns, the other workers know; at the first message, and whoever is first."""
    async with workers() as make:
        here, there = make(), make()
        for number in range(50):
            listener = await here.listen(f"room {number}")
            await there.send(f"room {number}", number)

            assert [number] == await hear(listener, 1)


async def test_a_second_member_waits_like_the_first() -> None:
    """While the others are being told of the room."""
    async with workers() as make:
        here, there = make(), make()
        await there.listen("other")
        listeners = await asyncio.gather(*(here.listen("a") for _ in range(5)))
        await there.send("a", "hello")

        assert [["hello"]] * 5 == [await hear(listener, 1) for listener in listeners]


async def test_only_rooms_with_members_are_sent_to_a_worker() -> None:
    """Before somebody comes, and after the last has gone."""
    async with workers() as make:
        here, there = make(), make()
        first = await there.listen("a")
        second = await there.listen("a")
        await here.send("b", "not for them")
        there.hub.leave("a", first)
        await here.send("a", "still")
        assert ["still"] == await hear(second, 1)
        there.hub.leave("a", second)
        # Told in the order of what is said: when this is known, so is the leaving.
        third = await there.listen("c")
        await here.send("a", "nobody")
        await here.send("c", "somebody")

        assert ["somebody"] == await hear(third, 1)
        assert 2 == there.hub.stats().received


async def test_members_are_counted_over_all_workers() -> None:
    """Each worker is asked at that moment."""
    async with workers() as make:
        here, there, other = make(), make(), make()
        await here.listen("a")
        for _ in range(3):
            await there.listen("a")

        assert [4, 4, 4] == [await worker.hub.members("a") for worker in (here, there, other)]
        assert 0 == await here.hub.members("b")


async def test_workers_that_start_at_once_find_each_other() -> None:
    """Each connects to those that it finds; two may have connected to each other."""
    async with workers() as make:
        all_workers = [make() for _ in range(6)]
        listeners = await asyncio.gather(*(worker.listen("a") for worker in all_workers))
        for number, worker in enumerate(all_workers):
            await worker.send("a", number)

        for listener in listeners:
            assert list(range(6)) == sorted(await hear(listener, 6))

        # Rooms are told on one of two connections, and messages may be sent on the other.
        late = await asyncio.gather(*(worker.listen("late") for worker in all_workers))
        for number, worker in enumerate(all_workers):
            await worker.send("late", number)
        for listener in late:
            assert list(range(6)) == sorted(await hear(listener, 6))


async def test_messages_keep_their_order_while_workers_come_and_go() -> None:
    """Nobody who stays misses one, and none comes twice."""
    async with workers() as make:
        here, there = make(), make()
        near, far = await here.listen("a"), await there.listen("a")
        late = []
        for number in range(600):
            if number % 60 == 0:
                come = make()
                late.append((number, await come.listen("a")))
            if number % 60 == 30:
                await come.hub.stop()
            assert await here.send("a", number)

        assert list(range(600)) == await hear(near, 600) == await hear(far, 600)
        for first, listener in late:
            assert list(range(first, first + 30)) == await hear(listener, 30)
            with pytest.raises(StopAsyncIteration):
                await listener.next()


async def test_the_last_words_of_a_worker_are_heard() -> None:
    """A stop waits until the others have what was sent, also if they talk to it meanwhile."""
    async with workers() as make:
        here, there = make(), make()
        heard = await there.listen("a")
        await here.listen("b")

        async def chatter() -> None:
            for _ in range(200):
                await there.send("b", "x" * 10_000)

        talking = asyncio.create_task(chatter())
        for number in range(200):
            await here.send("a", f"{number:03}" + "x" * 10_000)
        await here.hub.stop()
        await talking

        assert [f"{n:03}" for n in range(200)] == [m[:3] for m in await hear(heard, 200)]


async def test_workers_of_different_servers_never_hear_each_other(runtime: Path) -> None:
    """Each server has a directory of its own."""
    async with workers() as make:
        ours, theirs = make("our key"), make("their key")
        listener = await ours.listen("a")
        await theirs.listen("a")
        await theirs.send("a", "theirs")
        await ours.send("a", "ours")

        assert ["ours"] == await hear(listener, 1)
        assert 1 == await ours.hub.members("a")
        assert 2 == len(os.listdir(runtime))


async def test_the_directory_is_gone_when_all_have_left(runtime: Path) -> None:
    """And whoever comes back makes a new one."""
    for _ in range(2):
        async with workers() as make:
            here, there = make(), make()
            await here.listen("a")
            await there.listen("a")
            assert 2 == len(names_in(private_directory("key")))
        assert [] == os.listdir(runtime)


async def test_a_dead_workers_socket_is_swept() -> None:
    """One that refuses is removed, and holds up nobody."""
    directory = private_directory("key")
    dead = path_of(directory, "1-00000000")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(os.fspath(dead))
    async with workers() as make:
        worker = make()
        await worker.listen("a")

        assert not dead.exists()
        assert 1 == await worker.hub.members("a")


async def test_directories_without_a_living_worker_are_swept(runtime: Path) -> None:
    """Those of servers that were killed, after a while; not one that has just been made."""
    old, new = private_directory("old"), private_directory("new")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(os.fspath(path_of(old, "1-00000000")))
    os.utime(old, (time.time() - 3600,) * 2)
    async with workers() as make:
        await make().listen("a")

        assert not old.exists()
        assert new.exists()


async def test_without_a_directory_a_worker_goes_on_alone(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its own members hear each other, and the log says why and what to do."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/nonexistent")
    monkeypatch.setattr("tempfile.gettempdir", lambda: "/proc")
    async with workers() as make:
        worker = make()
        listener = await worker.listen("a")
        assert await worker.send("a", "hello")

        assert ["hello"] == await hear(listener, 1)
    assert 1 == caplog.text.count("rooms reach this worker's members only")
    assert "AIOHTTP_ROOMS_URL" in caplog.text


class Stranger:
    """A process that has found the socket of a worker."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self._writer = writer

    async def say(self, *frames: bytes) -> None:
        self._writer.write(b"".join(frames))
        await self._writer.drain()


@contextlib.asynccontextmanager
async def stranger(number: int = 0) -> AsyncIterator[Stranger]:
    """Connect to one of the workers, and read no more than is asked for."""
    directory = private_directory("key")
    path = path_of(directory, names_in(directory)[number])
    reader, writer = await asyncio.open_unix_connection(path, limit=1)
    try:
        yield Stranger(reader, writer)
    finally:
        writer.transport.abort()
        await asyncio.wait({asyncio.ensure_future(writer.wait_closed())})


HELLO = encode(Type.HELLO, b"key\n1-00000000")
ENTER = encode_question(Type.ENTER, 0, "a")


@pytest.mark.parametrize(
    "said",
    [
        encode(Type.HELLO, b"another key\n1-00000000"),
        encode(Type.MESSAGE, b"\x01\x00\x01ahello"),
        b"GET / HTTP/1.1\r\n\r\n",
        HELLO + encode(Type.MESSAGE, b"\x01\x00\x09a"),
        HELLO + encode(Type.MESSAGE, b"\x09\x00\x01ahello"),
        HELLO + encode(Type.ENTER, b"\x00"),
        HELLO + encode(Type.LEAVE, b"\xff"),
        HELLO + HELLO,
    ],
    ids=["key", "no key", "no frame", "room", "kind", "number", "name", "twice"],
)
async def test_a_stranger_is_refused(said: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """And told nothing; the log says so once, however often it is tried."""
    async with workers() as make:
        worker = make()
        listener = await worker.listen("secret")
        for _ in range(2):
            async with stranger() as other:
                await other.say(said)
                answer = await other.reader.read()
            assert said.startswith(HELLO) or b"" == answer
        await worker.send("secret", "hello")

        assert ["hello"] == await hear(listener, 1)
        assert 0 == worker.hub.stats().received
    assert 1 == caplog.text.count("refused a connection to the rooms' socket")


async def test_a_worker_that_stops_says_so_and_listens_until_the_others_have_left() -> None:
    """What they send meanwhile is taken, so that no connection breaks with words on their way."""
    async with workers() as make:
        worker = make()
        await worker.listen("a")
        async with stranger() as other:
            await other.say(HELLO, encode(Type.READY))
            stopping = asyncio.create_task(worker.hub.stop())
            said = b""
            while not said.endswith(encode(Type.BYE)):
                said += await asyncio.wait_for(other.reader.readexactly(1), PATIENCE)
            await other.say(encode(Type.MESSAGE, b"\x01\x00\x01ahello"))
            await eventually(lambda: worker.hub.stats().received, "the message")
            assert not stopping.done()
        await stopping


async def test_one_who_says_nothing_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a while."""
    monkeypatch.setattr(_wire, "_HELLO_TIMEOUT", 0.05)
    async with workers() as make:
        await make().listen("a")
        async with stranger() as other:
            assert b"" == await asyncio.wait_for(other.reader.read(), PATIENCE)


async def test_a_worker_that_takes_nothing_holds_up_the_others_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A sender waits for it, then goes on without: the sender is told, and the log says so once."""
    monkeypatch.setattr(_mesh, "_STALL_TIMEOUT", 0.05)
    async with workers() as make, contextlib.AsyncExitStack() as stack:
        here, there = make(), make(backlog=100_000_000)
        heard = await there.listen("a")
        await here.listen("b")
        for number in range(2):
            stuck = await stack.enter_async_context(stranger(number))
            await stuck.say(HELLO, ENTER, encode(Type.READY))
            await stuck.reader.readexactly(5)  # it is known by now
        sent = [await here.send("a", f"{number:03}" + "x" * 100_000) for number in range(100)]

        assert [f"{n:03}" for n in range(100)] == [m[:3] for m in await hear(heard, 100)]
    assert (True, False) == (sent[0], sent[-1])
    assert here.hub.stats().lost == sent.count(False) > 50
    assert 1 == caplog.text.count("takes no messages of rooms")


async def test_a_connection_that_breaks_is_made_again(caplog: pytest.LogCaptureFixture) -> None:
    """Whichever side finds out; the rooms are named anew."""
    caplog.set_level(logging.CRITICAL)
    async with workers() as make:
        here, there = make(), make()
        listener = await here.listen("a")
        await there.send("a", "before")
        assert ["before"] == await hear(listener, 1)
        for wire in tuple(here.hub._bus._wires):  # type: ignore[attr-defined]
            wire.abort()
        await eventually(lambda: not there.hub._bus._peers, "the connection to be lost")  # type: ignore[attr-defined]
        await eventually(lambda: there.hub._bus._peers, "the connection to be made again")  # type: ignore[attr-defined]
        await there.listen("b")
        await there.send("a", "after")

        assert ["after"] == await hear(listener, 1)


async def test_a_flood_does_not_keep_the_loop_to_itself() -> None:
    """Frames that have come at once are acted on in slices."""
    async with workers() as make:
        here, there = make(), make()
        listener = await there.listen("a")
        await here.listen("b")
        turns = 0

        async def turn() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        slow = there.hub.deliver
        seen = set()

        def deliver(room: str, message: Any) -> None:
            seen.add(turns)
            time.sleep(0.02)  # as many members cost
            slow(room, message)

        there.hub.deliver = deliver  # type: ignore[method-assign]
        for number in range(20):
            await here.hub._bus.publish("a", Message.of(number, json.dumps))
        turning = asyncio.create_task(turn())
        heard = await hear(listener, 20)
        turning.cancel()

        assert list(range(20)) == heard
        assert len(seen) > 10
