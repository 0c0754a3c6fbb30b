"""What a request knows of its client, and what its client's leaving does to it.

Rule 1: a body that is being sent ends with its client. A view that has not answered goes on unless
        it asked not to: what is cut off in the middle may lose data.
Rule 2: a client that has closed its side of the connection may still read.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from ._traffic import Traffic

__all__ = ("Client",)


class Client:
    """Who sent a request: ``environ["flask_aiohttp.client"]``.

    It outlives the request in a thread that goes on.

    Args:
        task: Serves the request; it is cancelled when nobody is left to answer to.
        traffic: The server's.
        cancel_on_disconnect: True to cancel a view that has not answered; it may ask later.
        grace: Seconds between the client's leaving and that cancellation.
    """

    __slots__ = ("_cancellation", "_grace", "_task", "_traffic", "cancel_on_disconnect", "left")

    def __init__(
        self,
        task: asyncio.Task[Any] | None,
        traffic: Traffic,
        cancel_on_disconnect: bool = False,
        grace: float = 0.0,
    ) -> None:
        self._task = task
        self._traffic = traffic
        self._grace = grace
        self._cancellation: asyncio.TimerHandle | None = None

        self.cancel_on_disconnect = cancel_on_disconnect

        # True once the client has left, or has closed its side of the connection.
        self.left = False

    @property
    def server_is_closing(self) -> bool:
        """True once the server ends each connection with the answer that is under way."""
        return self._traffic.closing

    @contextlib.contextmanager
    def ends_with_server(self, end: Callable[[], object]) -> Iterator[None]:
        """Call *end* when the server begins to stop, or at once if it has begun; on the loop."""
        endless = self._traffic.endless
        endless.add(end)
        try:
            if self._traffic.closing:
                end()
            yield
        finally:
            endless.discard(end)

    def half_close(self, *, streaming: bool) -> bool:
        """Take note that the client sends no more; return True if it may still read the answer.

        One that leaves looks the same at first. It counts as that where an answer is streamed, or
        where the view wants to know: nothing tells the difference until much later.
        """
        self.left = True
        return not (streaming or self.cancel_on_disconnect)

    def leave(self, *, streaming: bool) -> None:
        """End a body that nobody reads any more, and a view that wants to be cancelled."""
        self.left = True
        if self._task is None:
            return
        if streaming:
            self._task.cancel()
        elif self.cancel_on_disconnect:
            loop = self._task.get_loop()
            self._cancellation = loop.call_later(self._grace, self._task.cancel)

    def release(self) -> None:
        """Let go of the task, whose request has ended."""
        self._task = None
        if self._cancellation is not None:
            self._cancellation.cancel()
