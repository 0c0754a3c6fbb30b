"""Rooms over Redis: several machines, here in one process, and a Redis that comes and goes."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
from harness import PATIENCE, eventually
from redis.asyncio import Redis

from flask_aiohttp.rooms import _redis
from flask_aiohttp.rooms._member import Listener
from flask_aiohttp.rooms._redis import RedisBus

from .conftest import MakeWorker, workers
from .redis_server import RedisServer

Connected = Callable[[], AbstractAsyncContextManager[MakeWorker]]


@pytest.fixture(name="connected", params=["tcp", "unix"])
def _connected(redis: RedisServer, request: pytest.FixtureRequest) -> Connected:
    """Connect hubs through Redis; the key is the prefix."""
    url = redis.url if request.param == "tcp" else f"unix://{redis.unix_socket}"
    return lambda: workers(lambda receiver, key, logger: RedisBus(receiver, url, f"{key}:", logger))


@pytest.fixture(name="tcp")
def _tcp(redis: RedisServer) -> Connected:
    """The same, where the way there makes no difference."""
    return lambda: workers(
        lambda receiver, key, logger: RedisBus(receiver, redis.url, f"{key}:", logger)
    )


async def hear(listener: Listener, number: int) -> list[Any]:
    return [await asyncio.wait_for(listener.next(), PATIENCE) for _ in range(number)]


async def test_a_message_reaches_the_members_on_all_machines(connected: Connected) -> None:
    """Text, bytes and JSON; the sender's own too, and each once."""
    async with connected() as make:
        here, there, other = make(), make(), make()
        listeners = [await worker.listen("ü") for worker in (here, there, other)]
        sent = ["text", b"bytes\x00", {"json": [1, "ü"]}]
        for data in sent:
            assert await here.send("ü", data)

        assert [sent] * 3 == [await hear(listener, 3) for listener in listeners]


async def test_what_is_sent_after_a_member_has_joined_reaches_it(tcp: Connected) -> None:
    """When ``join`` returns, Redis has confirmed; also where the last one has just left."""
    async with tcp() as make:
        here, there = make(), make()
        for number in range(100):
            room = f"room {number % 2}"
            listener = await here.listen(room)
            await there.send(room, number)
            assert [number] == await hear(listener, 1)
            here.hub.leave(room, listener)


async def test_only_rooms_with_members_are_sent_to_a_worker(tcp: Connected) -> None:
    """Redis knows who has subscribed."""
    async with tcp() as make:
        here, there = make(), make()
        listener = await there.listen("a")
        await here.send("b", "nobody")
        await here.send("a", "somebody")

        assert ["somebody"] == await hear(listener, 1)
        assert 1 == there.hub.stats().received


async def test_members_are_counted_over_all_machines(tcp: Connected) -> None:
    """Each worker answers, and nobody waits for one that has none."""
    async with tcp() as make:
        here, there, other = make(), make(), make()
        await here.listen("a")
        for _ in range(3):
            await there.listen("a")
        started = time.monotonic()

        assert [4, 4, 4] == [await worker.hub.members("a") for worker in (here, there, other)]
        assert 0 == await here.hub.members("b")
        assert time.monotonic() - started < 4 * _redis._COUNT_TIMEOUT


async def test_applications_with_different_prefixes_never_hear_each_other(tcp: Connected) -> None:
    """One Redis may serve several."""
    async with tcp() as make:
        ours, theirs = make("ours"), make("theirs")
        listener = await ours.listen("a")
        await theirs.listen("a")
        await theirs.send("a", "theirs")
        await ours.send("a", "ours")

        assert ["ours"] == await hear(listener, 1)
        assert 1 == await ours.hub.members("a")


async def test_what_no_worker_sends_ends_nothing(tcp: Connected, redis: RedisServer) -> None:
    """A question or an answer that is too short or too long is passed over."""
    async with tcp() as make, Redis.from_url(redis.url) as client:
        here, there = make(), make()
        listener = await here.listen("a")
        for kind in (_redis._COUNT, _redis._COUNTED):
            for payload in (b"", b"xxx", b"x" * 9):
                data = _redis._HEAD.pack(_redis._VERSION, b"s" * 16, kind) + payload
                assert 1 == await client.publish("key:room:a", data)

        assert await there.send("a", "still here")
        assert ["still here"] == await hear(listener, 1)


async def test_messages_of_one_sender_keep_their_order(tcp: Connected) -> None:
    """Also when several send at once, and many wait to be sent."""
    async with tcp() as make:
        here, there = make(), make()
        listener = await there.listen("a")

        async def send(sender: int) -> None:
            for number in range(200):
                assert await here.send("a", [sender, number])

        await asyncio.gather(*map(send, range(5)))
        heard = await hear(listener, 1000)

        for sender in range(5):
            assert list(range(200)) == [number for s, number in heard if s == sender]


async def test_a_redis_that_goes_and_comes_is_found_again(
    tcp: Connected,
    redis: RedisServer,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Local members hear each other meanwhile, senders are told; the log has one line each way."""
    caplog.set_level(logging.INFO)
    failures: list[BaseException] = []
    gone = RedisBus._gone

    def count(bus: RedisBus, error: BaseException) -> None:
        failures.append(error)
        gone(bus, error)

    monkeypatch.setattr(RedisBus, "_gone", count)
    async with tcp() as make:
        here, there = make(), make()
        near, far = await here.listen("a"), await there.listen("a")
        assert await here.send("a", "before")
        assert ["before"] == await hear(far, 1)
        redis.stop()
        await eventually(lambda: caplog.text.count("Redis is away") == 2, "both to notice")
        assert not await here.send("a", "meanwhile")
        late = await asyncio.wait_for(there.listen("b"), PATIENCE)
        assert 1 == await here.hub.members("a")
        await eventually(lambda: len(failures) >= 6, "attempts that fail")

        redis.start()
        await eventually(lambda: caplog.text.count("Redis is back") == 2, "both to come back")
        assert await here.send("a", "after")
        assert await here.send("b", "late")

        assert ["before", "meanwhile", "after"] == await hear(near, 3)
        assert ["after"] == await hear(far, 1)
        assert ["late"] == await hear(late, 1)
        assert 1 == here.hub.stats().lost
    assert 2 == caplog.text.count("Redis is away") == caplog.text.count("Redis is back")


async def test_a_redis_that_is_not_there_at_the_start_is_waited_for_later(
    tcp: Connected, redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """The worker starts without it."""
    caplog.set_level(logging.INFO)
    redis.stop()
    async with tcp() as make:
        here, there = make(), make()
        near, far = await here.listen("a"), await there.listen("a")
        assert not await here.send("a", "to this worker only")
        redis.start()
        await eventually(lambda: caplog.text.count("Redis is back") == 2, "both to come")
        assert await here.send("a", "to all")

        assert ["to this worker only", "to all"] == await hear(near, 2)
        assert ["to all"] == await hear(far, 1)


async def test_a_redis_that_stands_still_holds_up_nobody_for_long(
    tcp: Connected,
    redis: RedisServer,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The first sender waits for a while, the others not at all; then it is found again."""
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(_redis, "_TIMEOUT", 0.3)
    monkeypatch.setattr(_redis, "_PING", 3600)
    async with tcp() as make:
        here, there = make(), make()
        far = await there.listen("a")
        assert await here.send("a", "before")
        redis.freeze()
        assert not await asyncio.wait_for(here.send("a", "stuck"), PATIENCE)
        await eventually(lambda: "Redis is away" in caplog.text, "the sender's side to notice")
        assert not await here.send("a", "known to be away")
        redis.thaw()
        await eventually(lambda: "Redis is back" in caplog.text, "Redis to be found")
        assert await here.send("a", "after")
        heard = await hear(far, 2)

        # What Redis had taken before it stood still may come or not: its sender was told "not".
        assert "before" == heard[0]
        assert heard[1] in ("stuck", "after")


async def test_what_others_put_into_a_channel_is_ignored(
    tcp: Connected, redis: RedisServer
) -> None:
    """Another program, or another version."""
    async with tcp() as make:
        worker = make()
        listener = await worker.listen("a")
        other = _redis.Redis.from_url(redis.url)
        for data in (b"", b"hello", b"\x09" + b"x" * 30, b"\x01" + b"x" * 16 + b"\xfahello"):
            assert 1 == await other.publish("key:room:a", data)
        await other.aclose()
        await make().send("a", "hello")

        assert ["hello"] == await hear(listener, 1)
