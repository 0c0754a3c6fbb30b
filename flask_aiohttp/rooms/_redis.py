"""The bus of several machines: Redis, or what speaks like it (Valkey).

::

    PREFIXroom:NAME     what is sent to the room NAME; the workers with members there subscribe
    PREFIXworker:ID     answers to the worker ID, which subscribes to it when it starts

    version: 1 byte    sender's ID: 16 bytes    kind: 1 byte    payload

The kinds are those of messages, and two more for counting members.

Rule 1: one connection listens, one sends. A worker's messages go out in the order of their sending.
Rule 2: nothing waits for a Redis that is away: who sends is told, and members of the same worker
        hear each other. It is looked for until it is back; the log has one line when it goes, and
        one when it comes.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import secrets
import struct
from collections import Counter, deque
from collections.abc import Coroutine
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from .._values import without_password
from ._bus import Receiver
from ._message import Kind, Message

__all__ = ("RedisBus",)

_VERSION = 1
_HEAD = struct.Struct("!B16sB")
_NUMBER = struct.Struct("!I")
_ANSWER = struct.Struct("!II")

# Kinds beside those of messages: how many members have you, and that many. Bytes of each payload.
_COUNT = 101
_COUNTED = 102
_LENGTHS = {_COUNT: _NUMBER.size, _COUNTED: _ANSWER.size}

# Seconds in which a connection is made, a batch of messages is taken, and a subscription confirmed.
_TIMEOUT = 5.0

# Seconds that the other workers have to say how many members they have.
_COUNT_TIMEOUT = 1.0

# Seconds between two pings; a connection that has been silent for longer than two is given up.
_PING = 10.0

# Seconds before Redis is looked for again: at first, and at most.
_FIRST_DELAY = 0.1
_MAX_DELAY = 5.0

# How many messages are sent at once, and how many may wait for that.
_BATCH = 500
_MAX_WAITING = 10_000

_AWAY = (RedisError, OSError, asyncio.TimeoutError)


class RedisBus:
    """Connects this process with all that have the same Redis and prefix.

    Args:
        receiver: Has what the others send.
        url: ``redis://``, ``rediss://`` or ``unix://``, as ``redis.Redis.from_url()`` reads it.
        prefix: Of all channels.
    """

    def __init__(self, receiver: Receiver, url: str, prefix: str, logger: logging.Logger) -> None:
        self._receiver = receiver
        self._url = url
        self._logger = logger
        self._id = secrets.token_bytes(16)
        self._rooms_prefix = f"{prefix}room:".encode()
        self._workers_prefix = f"{prefix}worker:".encode()
        self._inbox = self._workers_prefix + self._id.hex().encode()

        # True while the listening connection stands.
        self._up = False

        # Resolved when Redis has been reached, or has not, for the first time.
        self._tried = asyncio.Event()

        # True once it is in the log that Redis is away.
        self._told = False

        # What the listening connection is to do, while there is one: True to subscribe to a
        # channel, False to unsubscribe.
        self._orders: asyncio.Queue[tuple[bool, bytes]] | None = None

        # Fails when the sending connection does: then the other is not good either.
        self._failure: asyncio.Future[None] | None = None

        # For each channel the subscriptions that are not confirmed, and who waits for the last.
        self._unconfirmed: Counter[bytes] = Counter()
        self._waiting: dict[bytes, asyncio.Future[None]] = {}

        # What is to be sent, each with the future that has the number of its receivers.
        self._outbox: deque[tuple[bytes, bytes, asyncio.Future[int | None]]] = deque()
        self._unsent = asyncio.Event()
        self._last_posted: asyncio.Future[int | None] | None = None

        # Questions for members: how many answers are due, their sum so far, and who waits.
        self._counts: dict[int, _Count] = {}
        self._last_count = 0

        self._tasks: set[asyncio.Task[Any]] = set()

        # When the listening connection has last said something.
        self._heard = 0.0

        self._listener = self._client()
        self._sender = self._client(socket_timeout=_TIMEOUT)

    def _client(self, **options: Any) -> Redis:
        return Redis.from_url(
            self._url,
            protocol=2,
            decode_responses=False,
            # Who retries is this class: it knows what is to be subscribed to, and what to log.
            retry=Retry(NoBackoff(), 0),
            socket_connect_timeout=_TIMEOUT,
            **options,
        )

    async def start(self) -> None:
        """Look for Redis, and return when it is there or known to be away."""
        self._start(self._listen_for_ever(), "rooms: listen to Redis")
        self._start(self._send_for_ever(), "rooms: send to Redis")
        await self._tried.wait()

    async def stop(self) -> None:
        """Send what waits to be sent, and disconnect."""
        if self._last_posted is not None:
            await asyncio.wait({self._last_posted}, timeout=_TIMEOUT)
        tasks = set(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    # Listening

    async def _listen_for_ever(self) -> None:
        delay = _FIRST_DELAY
        try:
            while True:
                try:
                    async with self._listener.pubsub() as pubsub:
                        await self._listen(pubsub)
                except _AWAY as error:
                    if self._up:
                        delay = _FIRST_DELAY
                    self._gone(error)
                await asyncio.sleep(delay * random.uniform(0.5, 1))  # noqa: S311
                delay = min(2 * delay, _MAX_DELAY)
        finally:
            await self._listener.aclose()

    async def _listen(self, pubsub: PubSub) -> None:
        """Subscribe, then act on what comes, until the connection fails."""
        loop = asyncio.get_running_loop()
        self._unconfirmed.clear()
        # From here on, who enters a room says so; the rooms that there are by now are named first.
        self._orders = asyncio.Queue()
        self._failure = loop.create_future()
        channels = [self._channel(room) for room in self._receiver.rooms()]
        # When the last of them is confirmed, all are.
        for start in range(0, len(channels), _BATCH):
            await pubsub.subscribe(*channels[start : start + _BATCH])
        await pubsub.subscribe(self._inbox)
        self._unconfirmed.update([*channels, self._inbox])
        self._heard = loop.time()

        tasks = {
            self._failure,
            asyncio.create_task(self._obey(pubsub, self._orders), name="rooms: subscribe"),
            asyncio.create_task(self._ping(pubsub), name="rooms: ping Redis"),
            asyncio.create_task(self._hear(pubsub), name="rooms: hear Redis"),
        }
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    async def _hear(self, pubsub: PubSub) -> None:
        loop = asyncio.get_running_loop()
        while True:
            message = await pubsub.get_message(timeout=None)
            self._heard = loop.time()
            if message is None:
                continue
            channel = message["channel"]
            if message["type"] == "message":
                self._act(channel, message["data"])
            elif message["type"] == "subscribe":
                self._confirmed(channel)

    async def _obey(self, pubsub: PubSub, orders: asyncio.Queue[tuple[bool, bytes]]) -> None:
        while True:
            subscribe, channel = await orders.get()
            await (pubsub.subscribe if subscribe else pubsub.unsubscribe)(channel)

    async def _ping(self, pubsub: PubSub) -> None:
        """Find out about a Redis that does not say that it goes."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_PING)
            if loop.time() - self._heard > 2 * _PING:
                raise asyncio.TimeoutError(f"it says nothing for {2 * _PING:g} s")
            await pubsub.ping()

    def _confirmed(self, channel: bytes) -> None:
        self._unconfirmed[channel] -= 1
        if not self._unconfirmed[channel]:
            del self._unconfirmed[channel]
            if (waiting := self._waiting.pop(channel, None)) is not None:
                _resolve(waiting, None)
        if channel == self._inbox:
            self._up = True
            self._tried.set()
            if self._told:
                self._told = False
                self._logger.info("Redis is back: rooms reach all workers again")

    def _gone(self, error: BaseException) -> None:
        self._up = False
        self._orders = None
        self._tried.set()
        for waiting in self._waiting.values():
            _resolve(waiting, None)
        self._waiting.clear()
        if not self._told:
            self._told = True
            self._logger.warning(
                "Redis is away (%s: %s): rooms reach the members of the same worker only",
                without_password(self._url),
                error or type(error).__name__,
            )

    def _act(self, channel: bytes, data: bytes) -> None:
        # Others may use the channel with a version that is not known here.
        if len(data) < _HEAD.size or data[0] != _VERSION:
            return
        _, sender, kind = _HEAD.unpack_from(data)
        payload = data[_HEAD.size :]
        # What is not as long as a worker makes it must not end the listening.
        if sender == self._id or len(payload) != _LENGTHS.get(kind, len(payload)):
            return
        if kind == _COUNTED:
            number, count = _ANSWER.unpack(payload)
            if (question := self._counts.get(number)) is not None:
                question.answer(count)
            return
        room = channel[len(self._rooms_prefix) :].decode()
        if kind == _COUNT:
            answer = payload + _NUMBER.pack(self._receiver.count(room))
            inbox = self._workers_prefix + sender.hex().encode()
            self._post(inbox, _COUNTED, answer)
        elif kind in _KINDS:
            self._receiver.deliver(room, Message(Kind(kind), payload))

    # Rooms

    def _channel(self, room: str) -> bytes:
        return self._rooms_prefix + room.encode()

    def enter(self, room: str) -> asyncio.Future[None] | None:
        """Subscribe, and return what to wait for until that is confirmed."""
        channel = self._channel(room)
        if self._orders is not None:
            self._unconfirmed[channel] += 1
            self._orders.put_nowait((True, channel))
        if not self._up:
            return None
        loop = asyncio.get_running_loop()
        waiting = self._waiting.setdefault(channel, loop.create_future())
        return self._start(_within(waiting, _TIMEOUT), f"enter room {room}")

    def leave(self, room: str) -> None:
        """Unsubscribe."""
        if self._orders is not None:
            self._orders.put_nowait((False, self._channel(room)))

    # Sending

    async def publish(self, room: str, message: Message) -> bool:
        """Send *message* through Redis; False if it is away, or behind by too many messages."""
        posted = self._post(self._channel(room), message.kind, message.payload)
        return posted is not None and await posted is not None

    def _post(self, channel: bytes, kind: int, payload: bytes) -> asyncio.Future[int | None] | None:
        if not self._up or len(self._outbox) >= _MAX_WAITING:
            return None
        posted: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()
        self._last_posted = posted
        self._outbox.append((channel, _HEAD.pack(_VERSION, self._id, kind) + payload, posted))
        self._unsent.set()
        return posted

    async def _send_for_ever(self) -> None:
        try:
            while True:
                await self._unsent.wait()
                batch = [self._outbox.popleft() for _ in range(min(_BATCH, len(self._outbox)))]
                if not self._outbox:
                    self._unsent.clear()
                try:
                    async with self._sender.pipeline(transaction=False) as pipeline:
                        for channel, data, _ in batch:
                            pipeline.publish(channel, data)
                        results = await pipeline.execute(raise_on_error=False)
                except _AWAY as error:
                    # Whether it has been sent is not known; it is not sent twice.
                    results = [None] * len(batch)
                    if self._failure is not None and not self._failure.done():
                        self._failure.set_exception(error)
                for (_, _, posted), result in zip(batch, results, strict=True):
                    _resolve(posted, result if isinstance(result, int) else None)
        finally:
            for _, _, posted in self._outbox:
                _resolve(posted, None)
            await self._sender.aclose()

    async def members(self, room: str) -> int:
        """Ask each worker that has members, and wait a moment for the answers."""
        self._last_count = number = (self._last_count + 1) & 0xFFFFFFFF
        question = self._counts[number] = _Count()
        try:
            posted = self._post(self._channel(room), _COUNT, _NUMBER.pack(number))
            receivers = None if posted is None else await posted
            # This worker is subscribed too, if it has members.
            others = (receivers or 0) - bool(self._receiver.count(room))
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(question.complete(others), _COUNT_TIMEOUT)
            return question.sum
        finally:
            del self._counts[number]

    def _start(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._up = False
            self._tried.set()
            self._logger.error("the task %r failed", task.get_name(), exc_info=error)


class _Count:
    """A question for members that several workers answer."""

    def __init__(self) -> None:
        self.sum = 0
        self._answers = 0
        self._answered = asyncio.Event()

    def answer(self, count: int) -> None:
        self.sum += count
        self._answers += 1
        self._answered.set()

    async def complete(self, answers: int) -> None:
        """Wait for so many answers."""
        while self._answers < answers:
            self._answered.clear()
            await self._answered.wait()


_KINDS = frozenset(kind.value for kind in Kind)


async def _within(future: asyncio.Future[None], seconds: float) -> None:
    await asyncio.wait({future}, timeout=seconds)


def _resolve(future: asyncio.Future[Any], result: Any) -> None:
    if not future.done():
        future.set_result(result)
