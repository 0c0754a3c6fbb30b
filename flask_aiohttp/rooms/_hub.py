"""The rooms of one worker: who is in them, and what is sent to them."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Callable, Coroutine, Iterable
from contextvars import Context
from dataclasses import dataclass
from typing import Any

from .._websocket import WebSocket
from ._bus import Bus, Receiver
from ._member import Listener, Member, SocketMember
from ._message import Message

__all__ = ("Hub", "Stats")


@dataclass
class Stats:
    """What the rooms of one worker have and did, since it started."""

    # Rooms that have members, and the memberships in them.
    rooms: int = 0
    members: int = 0

    # Messages sent from here, and those that came from other workers.
    sent: int = 0
    received: int = 0

    # Messages that the other workers could not be sent.
    lost: int = 0

    # Websockets that were closed and listeners that lost messages, because they were too slow.
    slow_sockets: int = 0
    lagged_listeners: int = 0


class Hub:
    """The rooms of one process; used on its loop only.

    Args:
        make_bus: Makes what connects it with the others.
        loop: On which it is used.
        backlog: Bytes that a member may be behind.
    """

    def __init__(
        self,
        make_bus: Callable[[Receiver], Bus],
        loop: asyncio.AbstractEventLoop,
        backlog: int,
        logger: logging.Logger,
    ) -> None:
        self.loop = loop
        self.backlog = backlog
        self._logger = logger
        self._bus = make_bus(self)
        self._stats = Stats()

        # The members of each room, in the order in which they came, and how often each has joined.
        self._rooms: dict[str, dict[Member, int]] = {}
        self._sockets: dict[WebSocket, SocketMember] = {}

        # The bus is started by who first needs it: an application without rooms has no bus.
        self._starting: asyncio.Task[None] | None = None

        # The rooms that the bus was told of, and what to wait for until the others know.
        self._entered: dict[str, asyncio.Future[None] | None] = {}

        # Closes of sockets that were too slow.
        self._closing: set[asyncio.Task[None]] = set()

        # True once the worker stops: listeners end.
        self._ending = False

    async def join_socket(self, room: str, socket: WebSocket) -> SocketMember:
        """Let *socket* have what is sent to *room* from now on. Leave with the member returned."""
        member = self._sockets.get(socket)
        if member is None:
            member = self._sockets[socket] = SocketMember(socket, self.backlog, self._dismiss)
        await self._join(room, member)
        return member

    async def join_listener(self, room: str, loads: Callable[[str], Any]) -> Listener:
        """Return a listener that hears what is sent to *room* from now on."""
        listener = Listener(self.backlog, self._count_lagged, loads)
        await self._join(room, listener)
        if self._ending:
            listener.end()
        return listener

    async def _join(self, room: str, member: Member) -> None:
        members = self._rooms.setdefault(room, {})
        members[member] = members.get(member, 0) + 1
        member.memberships += 1
        try:
            await self._started()
            if room not in self._entered:
                self._entered[room] = self._bus.enter(room)
            known = self._entered[room]
            # One who comes meanwhile waits too, whatever becomes of the first.
            if known is not None:
                await asyncio.shield(known)
        except BaseException:
            self.leave(room, member)
            raise

    def leave(self, room: str, member: Member) -> None:
        """End one membership."""
        members = self._rooms[room]
        members[member] -= 1
        member.memberships -= 1
        if not members[member]:
            del members[member]
        if not members:
            del self._rooms[room]
            if room in self._entered:
                del self._entered[room]
                self._bus.leave(room)
        if isinstance(member, SocketMember) and not member.memberships:
            self._sockets.pop(member.socket, None)

    async def send(self, room: str, message: Message, exclude: WebSocket | None) -> bool:
        """Send *message* to all members of *room* but one; see :meth:`Rooms.send`."""
        self._stats.sent += 1
        self._hand_out(room, message, exclude)
        await self._started()
        reached = await self._bus.publish(room, message)
        if not reached:
            self._stats.lost += 1
        # Who sends in a loop must not keep the connections from being written and read.
        await asyncio.sleep(0)
        return reached

    async def members(self, room: str) -> int:
        """Return how many members *room* has, in all workers."""
        await self._started()
        return await self._bus.members(room) + self.count(room)

    def deliver(self, room: str, message: Message) -> None:
        """Hand on what another worker has sent. Called by the bus."""
        self._stats.received += 1
        self._hand_out(room, message, None)

    def _hand_out(self, room: str, message: Message, exclude: WebSocket | None) -> None:
        members: Iterable[Member] = self._rooms.get(room, ())
        if exclude is not None and (excluded := self._sockets.get(exclude)) is not None:
            members = [member for member in members if member is not excluded]
        # A member that is too slow leaves the room later, when its view ends.
        for member in members:
            member.deliver(message)

    def count(self, room: str) -> int:
        """Return how many members *room* has in this worker."""
        return len(self._rooms.get(room, ()))

    def rooms(self) -> list[str]:
        """Return the rooms that have members in this worker."""
        return list(self._rooms)

    def stats(self) -> Stats:
        """Return what there is and what was done until now."""
        members = sum(map(len, self._rooms.values()))
        return dataclasses.replace(self._stats, rooms=len(self._rooms), members=members)

    async def _started(self) -> None:
        if self._starting is None:
            self._starting = self._create_task(self._bus.start(), "start of the rooms' bus")
        if not self._starting.done():
            await asyncio.shield(self._starting)
        self._starting.result()

    def end_listeners(self) -> None:
        """Let those who listen, now or later, come to their end: the worker stops."""
        self._ending = True
        for members in self._rooms.values():
            for member in members:
                if isinstance(member, Listener):
                    member.end()

    async def stop(self) -> None:
        """Leave the bus, after all that was sent is on its way."""
        self.end_listeners()
        if self._starting is not None:
            self._starting.cancel()
            await asyncio.wait({self._starting})
            await self._bus.stop()
        for task in self._closing:
            task.cancel()
        if self._closing:
            await asyncio.wait(self._closing)

    def _dismiss(self, member: SocketMember) -> None:
        self._stats.slow_sockets += 1
        self._logger.info(
            "closing a websocket with 1013: more than %d bytes of its rooms wait to be read",
            self.backlog,
        )
        task = self._create_task(member.close(), "close a slow websocket")
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def _create_task(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        # Not in the context of the request that happens to be running: the bus would keep that
        # request for ever, and a socket would take the close for one by its own view.
        return Context().run(lambda: self.loop.create_task(work, name=name))

    def _count_lagged(self) -> None:
        self._stats.lagged_listeners += 1
