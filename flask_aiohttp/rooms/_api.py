"""``aio.rooms``: what an application calls."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Generic, TypeVar

from flask import Flask, has_request_context, request

from .._state import state_of
from .._values import without_password
from .._waiting import await_
from .._websocket import WebSocket
from ..exceptions import NoWebSocket, RoomsUnavailable
from ._hub import Hub, Stats
from ._member import Listener, SocketMember
from ._message import Message, check_room
from ._outside import hub_outside

__all__ = ("Listening", "Membership", "Messages", "Rooms")

T = TypeVar("T")


class Rooms:
    """Messages for many at once: in every worker, and with Redis on every machine.

    A room is a name, any str that is not empty; it begins with its first member and ends with its
    last. A message reaches each member at most once, and those of one sender to one room in their
    order.

    In a sync view write ``await_(aio.rooms.send(...))``, ``with`` and ``for``; in an async one
    ``await``, ``async with`` and ``async for``.

    Args:
        current_app: Returns the application that is meant.
    """

    def __init__(self, current_app: Callable[[], Flask]) -> None:
        self._current_app = current_app

    def join(self, room: str) -> Membership:
        """Let the current request's websocket have what is sent to *room*, within ``async with``.

        The handshake is done by then. When the block begins, all workers know of the member. A
        socket that is in a room twice gets each message once. One that has more than
        ``AIOHTTP_ROOMS_BACKLOG`` bytes to read is closed with 1013.

        Raises:
            InvalidRoom: *room* cannot name one.
            NoWebSocket: The request did not ask for one, or there is no request.
        """
        check_room(room)
        if not has_request_context():
            raise NoWebSocket("no", "request")
        socket = _own_socket()
        if socket is None:
            raise NoWebSocket(request.method, request.path)
        return Membership(self._hub(), room, socket)

    async def send(self, room: str, data: Any, *, exclude_self: bool = False) -> bool:
        """Send *data* to all members of *room*.

        Args:
            data: A str or bytes are sent as they are, anything else as JSON, which the
                application's ``app.json`` writes.
            exclude_self: Not to the current request's own websocket.

        Returns:
            False if not all workers were reached: Redis is away, then it were this worker's own
            members only, or a worker takes nothing for many seconds.

        Raises:
            InvalidRoom: *room* cannot name one.
            RoomMessageTooLarge: *data* has more than 16 MiB.
            RoomsUnavailable: This process is no worker, and has not reached one.
            TypeError: JSON cannot hold *data*.
        """
        check_room(room)
        hub = self._hub()
        app = self._current_app()
        message = Message.of(data, app.json.dumps)
        exclude = _own_socket() if exclude_self else None
        reached = await _on(hub.loop, hub.send(room, message, exclude))
        if not reached and hub is not state_of(app).hub:
            raise RoomsUnavailable(without_password(app.config["AIOHTTP_ROOMS_URL"]))
        return reached

    def listen(self, room: str) -> Listening:
        """Return messages that are sent to *room* while ``async with`` lasts, as an iterator.

        It gives what was sent: str, bytes, or what JSON held. A reader that is more than
        ``AIOHTTP_ROOMS_BACKLOG`` bytes behind loses what it has not read, and gets a
        :class:`Lagged` in its place. The iterator ends when the worker stops.

        Raises:
            InvalidRoom: *room* cannot name one.
            RoomsUnavailable: This process is no worker and cannot reach one.
        """
        check_room(room)
        return Listening(self._hub(), room, self._current_app().json.loads)

    async def members(self, room: str) -> int:
        """Return how many members *room* has, in all workers that can be reached.

        Raises:
            InvalidRoom: *room* cannot name one.
            RoomsUnavailable: This process is no worker and cannot reach one.
        """
        check_room(room)
        hub = self._hub()
        return await _on(hub.loop, hub.members(room))

    def stats(self) -> Stats:
        """Return what this worker's rooms have and did, for a health check or a gauge."""
        return self._hub().stats()

    def _hub(self) -> Hub:
        app = self._current_app()
        return state_of(app).hub or hub_outside(app)


def _own_socket() -> WebSocket | None:
    """Return the current request's websocket, if it has one."""
    return request.environ.get("wsgi.websocket") if has_request_context() else None


async def _on(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, T]) -> T:
    """Wait for *work* to be done on the hub's loop, from whichever loop runs here."""
    if asyncio.get_running_loop() is loop:
        return await work
    return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, loop))


class Block(Generic[T]):
    """What can be entered with ``async with``, and with ``with`` where code is synchronous."""

    async def __aenter__(self) -> T:
        raise NotImplementedError

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        raise NotImplementedError

    def __enter__(self) -> T:
        return await_(self.__aenter__())

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await_(self.__aexit__(kind, error, traceback))


class Membership(Block[None]):
    """A websocket in a room, from the beginning of a block to its end."""

    def __init__(self, hub: Hub, room: str, socket: WebSocket) -> None:
        self._hub = hub
        self._room = room
        self._socket = socket
        self._members: list[SocketMember] = []

    async def __aenter__(self) -> None:
        await self._socket.accept()
        self._members.append(await self._hub.join_socket(self._room, self._socket))

    async def __aexit__(self, *_: object) -> None:
        self._hub.leave(self._room, self._members.pop())


class Messages:
    """What is sent to a room, one after the other: for ``async for``, and ``for``."""

    def __init__(self, loop: asyncio.AbstractEventLoop, listener: Listener) -> None:
        self._loop = loop
        self._listener = listener

    def __aiter__(self) -> Messages:
        return self

    async def __anext__(self) -> Any:
        return await _on(self._loop, self._listener.next())

    def __iter__(self) -> Messages:
        return self

    def __next__(self) -> Any:
        try:
            return await_(self.__anext__())
        except StopAsyncIteration:
            raise StopIteration from None


class Listening(Block[Messages]):
    """Somebody who listens to a room, from the beginning of a block to its end."""

    def __init__(self, hub: Hub, room: str, loads: Callable[[str], Any]) -> None:
        self._hub = hub
        self._room = room
        self._loads = loads
        self._listeners: list[Listener] = []

    async def __aenter__(self) -> Messages:
        hub = self._hub
        listener = await _on(hub.loop, hub.join_listener(self._room, self._loads))
        self._listeners.append(listener)
        return Messages(hub.loop, listener)

    async def __aexit__(self, *_: object) -> None:
        hub, listener = self._hub, self._listeners.pop()

        async def leave() -> None:
            hub.leave(self._room, listener)

        await _on(hub.loop, leave())
