"""How one member gets its messages, and what happens to one that cannot keep up.

Rule 1: whoever sends never waits for a member, and no member waits for another.
Rule 2: what is kept for a member has an end, in bytes: a websocket that is further behind is closed
        with 1013, a listener loses what it has not read and is told how much that was.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextvars import Context
from dataclasses import dataclass
from typing import Any, TypeAlias

from aiohttp import WSCloseCode

from .._sse import Event
from .._websocket import WebSocket
from ._message import Message

__all__ = ("Lagged", "Listener", "Member", "SocketMember")

# Seconds that a websocket which is too slow has for reading what it was sent before it is told so,
# and for its answer.
_PATIENCE = 10.0

# Bytes that a message costs beside its payload, as long as it waits.
_OVERHEAD = 100


@dataclass(frozen=True)
class Lagged(Event):
    """Stands where a listener has lost messages, because it read too slowly.

    In a stream of server-sent events it is one of the type "lagged".

    Args:
        missed: How many.
    """

    data: Any = None
    event: str | None = "lagged"
    missed: int = 0

    @classmethod
    def by(cls, missed: int) -> Lagged:
        """Return the notice that *missed* messages are lost."""
        return cls(data={"missed": missed}, missed=missed)


class SocketMember:
    """A websocket that gets each message as one frame.

    Its queue is the connection's own write buffer: a frame that is built once is handed to it as it
    is, and no member needs a task.

    Args:
        socket: After its handshake.
        backlog: Bytes that may wait to be read by the client.
        too_slow: Called once with this member when there are more.
    """

    __slots__ = ("_backlog", "_too_slow", "_transport", "dismissed", "memberships", "socket")

    def __init__(
        self,
        socket: WebSocket,
        backlog: int,
        too_slow: Callable[[SocketMember], None],
    ) -> None:
        self.socket = socket
        self._transport = socket.transport
        self._backlog = backlog
        self._too_slow = too_slow

        # How many rooms it has joined, each as often as it has.
        self.memberships = 0

        # True once the socket is being closed because it was too slow.
        self.dismissed = False

    def deliver(self, message: Message) -> None:
        """Send *message*, unless the client is gone or has too much to read already."""
        transport = self._transport
        if self.dismissed or self.socket.over or transport is None or transport.is_closing():
            return
        if transport.get_write_buffer_size() > self._backlog:
            self.dismissed = True
            self._too_slow(self)
            return
        transport.write(message.frame)

    async def close(self) -> None:
        """Close the socket with 1013 (try again later), without the client's help if need be."""
        closing = asyncio.ensure_future(
            self.socket.close(
                code=WSCloseCode.TRY_AGAIN_LATER, message=b"too slow for its rooms", drain=False
            )
        )
        try:
            await asyncio.wait({closing}, timeout=_PATIENCE)
        finally:
            # aiohttp is done as soon as the view has let go of the socket: what was sent before
            # may still wait for the client. What it has not read in time would be kept for as
            # long as it does not read.
            patience = _PATIENCE if closing.done() else 0.0
            closing.cancel()
            if self._transport is not None:
                loop = asyncio.get_running_loop()
                loop.call_later(patience, self._transport.abort, context=Context())
            await asyncio.wait({closing})


class Listener:
    """A bounded queue for ``async for``, in a stream of events or a task; used on one loop."""

    def __init__(self, backlog: int, lagged: Callable[[], object], loads: Callable[[str], Any]):
        self._backlog = backlog
        self._lagged = lagged
        self._loads = loads
        self.memberships = 0

        self._messages: deque[Message] = deque()
        self._size = 0

        # How many messages were lost before the first of those.
        self._missed = 0

        # Set when there is something to read, or nothing more will come.
        self._ready = asyncio.Event()
        self._ended = False

    def deliver(self, message: Message) -> None:
        """Keep *message* until it is read; forget all others first if there is no room."""
        size = len(message.payload) + _OVERHEAD
        if self._messages and self._size + size > self._backlog:
            if not self._missed:
                self._lagged()
            self._missed += len(self._messages)
            self._messages.clear()
            self._size = 0
        self._messages.append(message)
        self._size += size
        self._ready.set()

    def end(self) -> None:
        """Let the reader come to its end, after what it has not read."""
        self._ended = True
        self._ready.set()

    async def next(self) -> Any:
        """Return the next message's data, or a :class:`Lagged`.

        Raises:
            StopAsyncIteration: The worker stops.
        """
        await self._ready.wait()
        if self._missed:
            missed, self._missed = self._missed, 0
            return Lagged.by(missed)
        if not self._messages:
            raise StopAsyncIteration
        message = self._messages.popleft()
        self._size -= len(message.payload) + _OVERHEAD
        if not self._messages and not self._ended:
            self._ready.clear()
        return message.data(self._loads)


Member: TypeAlias = "SocketMember | Listener"
