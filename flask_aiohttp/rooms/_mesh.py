"""The bus of one machine: the workers of one gunicorn, each connected with each.

There is no hub that could die. A worker that comes connects to all it finds, and the answer of each
names the rooms that have members there; one that goes says so, or its connections end.

Rule 1: a worker sends to a room only after it knows who is in it: it starts when all that it found
        have named their rooms. One that enters a room waits until all have answered.
Rule 2: two workers send to each other on one connection each way, so that the order is kept. If
        both connect at once there are two, and each side goes on with its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import secrets
from collections.abc import Coroutine, Iterable
from pathlib import Path
from typing import Any

from . import _directory
from ._bus import Receiver
from ._frames import Type, encode, encode_message, encode_question
from ._message import Message
from ._wire import Wire

__all__ = ("Mesh",)

# Seconds that another worker has to answer. One whose loop is blocked for longer is not waited
# for; it cannot send anything meanwhile either.
_ANSWER_TIMEOUT = 5.0

# Seconds that senders wait for a worker which takes nothing, and that a stop waits for the others.
_STALL_TIMEOUT = 5.0
_BYE_TIMEOUT = 2.0

# Seconds after which a worker that was lost is looked for: one that was killed listens no more.
_LOOK_AGAIN = 0.2

_NAME = re.compile(r"\d+-[0-9a-f]{8}")


class Mesh:
    """Connects this worker with all others that have the same key.

    Args:
        receiver: Has what the others send.
        key: A secret that only they know.
    """

    def __init__(self, receiver: Receiver, key: str, logger: logging.Logger) -> None:
        self.key = key.encode()
        self._receiver = receiver
        self._logger = logger
        self._name = f"{os.getpid()}-{secrets.token_hex(4)}"
        self._directory: Path | None = None
        self._server: asyncio.AbstractServer | None = None

        # The connection on which each other worker is sent to, and all connections there are.
        self._peers: dict[str, Wire] = {}
        self._wires: set[Wire] = set()

        self._tasks: set[asyncio.Task[Any]] = set()
        self._stopping = False

        # True once it is in the log that a connection was refused.
        self._told = False

    async def start(self) -> None:
        """Listen, and find the others. If that cannot be, this worker goes on alone."""
        try:
            await self._listen()
        except OSError as error:
            self._logger.error(
                "rooms reach this worker's members only, as no private directory can be made: %s. "
                "Set RUNTIME_DIRECTORY or XDG_RUNTIME_DIR to a directory of this user, or "
                "AIOHTTP_ROOMS_URL to a Redis server",
                error,
            )
            return
        assert self._directory is not None
        for name in _directory.names_in(self._directory):
            if name != self._name:
                await self._reach(name)
        await self._wait_for((wire.ready for wire in self._peers.values()), "name its rooms")
        _directory.sweep(self._directory)

    async def _listen(self) -> None:
        for attempt in range(3):
            directory = _directory.private_directory(self.key.decode())
            try:
                sock = _directory.bind(directory, self._name)
                break
            except FileNotFoundError:
                # Who left last has just removed it.
                if attempt == 2:
                    raise
        self._directory = directory
        loop = asyncio.get_running_loop()
        self._server = await loop.create_unix_server(self._accept, sock=sock)

    def _accept(self) -> Wire:
        wire = Wire(self)
        self._wires.add(wire)
        return wire

    async def _reach(self, name: str) -> None:
        """Connect to the worker *name*; remove its socket if it is dead."""
        assert self._directory is not None
        if not _NAME.fullmatch(name):
            return
        path = _directory.path_of(self._directory, name)
        wire = Wire(self, name)
        try:
            await asyncio.get_running_loop().create_unix_connection(lambda: wire, os.fspath(path))
        except ConnectionRefusedError:
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
        except OSError:
            pass  # it has left meanwhile
        else:
            if not wire.closed.done():
                self._wires.add(wire)
                self._meet(wire, name)

    def _meet(self, wire: Wire, name: str) -> None:
        """Tell the worker at the other end all rooms of this one, and those entered from now on."""
        wire.send(encode(Type.HELLO, b"%b\n%b" % (self.key, self._name.encode())))
        for room in self._receiver.rooms():
            wire.send(encode_question(Type.ENTER, 0, room))
        wire.send(encode(Type.READY))
        first = self._peers.setdefault(name, wire)
        wire.rooms = first.rooms

    def hello(self, wire: Wire, name: str) -> None:
        """Answer a worker that has connected, or take note of one that has answered."""
        if self._stopping:
            wire.close()
        elif wire.name is None:
            wire.name = name
            self._meet(wire, name)

    def lost(self, wire: Wire, bad: str | None) -> None:
        """Forget a worker whose connection has ended, but look whether it still is there."""
        self._wires.discard(wire)
        if bad is not None and not self._told:
            self._told = True
            self._logger.warning("refused a connection to the rooms' socket: %s", bad)
        if wire.name is not None and self._peers.get(wire.name) is wire:
            del self._peers[wire.name]
            other = next((other for other in self._wires if other.name == wire.name), None)
            if other is not None:
                self._peers[wire.name] = other
            elif not self._stopping:
                self._start(self._look_again(wire.name), "look for a worker")

    async def _look_again(self, name: str) -> None:
        await asyncio.sleep(_LOOK_AGAIN)
        if name not in self._peers:
            await self._reach(name)

    def enter(self, room: str) -> asyncio.Future[None] | None:
        """Tell all others, and return what to wait for until they know."""
        asked = [wire.ask(Type.ENTER, room) for wire in self._peers.values()]
        if not asked:
            return None
        return self._start(self._wait_for(asked, "answer"), f"enter room {room}")

    def leave(self, room: str) -> None:
        """Tell all others."""
        for wire in self._peers.values():
            wire.send(encode(Type.LEAVE, room.encode()))

    async def publish(self, room: str, message: Message) -> bool:
        """Send *message* to the workers that have members in *room*."""
        wires = [wire for wire in self._peers.values() if room in wire.rooms]
        if not wires:
            return True
        frame = encode(Type.MESSAGE, encode_message(room, message))
        sent = [not wire.stalled and wire.send(frame) for wire in wires]
        for wire in wires:
            if not wire.writable.is_set() and not wire.stalled:
                await self._wait_until_writable(wire)
        return all(sent)

    async def _wait_until_writable(self, wire: Wire) -> None:
        try:
            await asyncio.wait_for(wire.writable.wait(), _STALL_TIMEOUT)
        except asyncio.TimeoutError:
            if not wire.stalled and not wire.writable.is_set():
                wire.stalled = True
                self._logger.warning(
                    "worker %s takes no messages of rooms: it misses what is sent until it does",
                    wire.name,
                )

    async def members(self, room: str) -> int:
        """Ask each worker that has members."""
        asked = [w.ask(Type.COUNT, room) for w in self._peers.values() if room in w.rooms]
        await self._wait_for(asked, "count its members")
        return sum(question.result() for question in asked if question.done())

    async def _wait_for(self, futures: Iterable[asyncio.Future[Any]], what: str) -> None:
        if waiting := set(futures):
            _, late = await asyncio.wait(waiting, timeout=_ANSWER_TIMEOUT)
            if late:
                self._logger.warning(
                    "%d workers did not %s within %g s", len(late), what, _ANSWER_TIMEOUT
                )

    def deliver(self, room: str, message: Message) -> None:
        """Hand on what another worker has sent."""
        self._receiver.deliver(room, message)

    def count(self, room: str) -> int:
        """Return this worker's members in *room*."""
        return self._receiver.count(room)

    async def stop(self) -> None:
        """Say good-bye, and wait until the others have heard it, and so all before it."""
        self._stopping = True
        for task in self._tasks:
            task.cancel()
        if self._directory is None:
            return
        with contextlib.suppress(FileNotFoundError):
            _directory.path_of(self._directory, self._name).unlink()
        if self._server is not None:
            self._server.close()
        closed = [wire.closed for wire in self._wires]
        for wire in tuple(self._wires):
            wire.send(encode(Type.BYE))
        if closed:
            await asyncio.wait(closed, timeout=_BYE_TIMEOUT)
        for wire in tuple(self._wires):
            wire.abort()
        _directory.remove(self._directory)

    def _start(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
