"""What a server is busy with: counted as requests come and go, read by who drains or reports."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from aiohttp import WSCloseCode

if TYPE_CHECKING:
    from ._exchange import Exchange
    from ._opening import OpeningWebSocket

__all__ = ("Traffic",)


class Traffic:
    """The requests and websockets of one server; used on its loop only."""

    def __init__(self) -> None:
        # Each request in flight, websockets included, by the task that serves it; None for one of
        # a native aiohttp route.
        self.in_flight: dict[asyncio.Task[Any] | None, Exchange | None] = {}

        # Open websockets, and how many of them hold a thread.
        self.websockets: set[OpeningWebSocket] = set()
        self.threads_held = 0

        # Requests that have been started since the server is up.
        self.total = 0

        # With this request the server has done enough (gunicorn's max_requests), and says so.
        self.limit = sys.maxsize
        self.limit_reached: Callable[[], object] = lambda: None

        # True once the server stops: each answer from now on ends its connection. What websockets
        # are told then.
        self.closing = False
        self.close_code = WSCloseCode.GOING_AWAY

        # Each ends a stream that would never end by itself; called when the server begins to stop.
        self.endless: set[Callable[[], object]] = set()

        # Resolved when the last request ends; None while nobody waits for that.
        self._idle_waiter: asyncio.Future[None] | None = None

    def begin(self, exchange: Exchange | None = None) -> None:
        """Count the running task's request; a second call tells the exchange of the same one."""
        task = asyncio.current_task()
        if task not in self.in_flight:
            self.total += 1
            if self.total >= self.limit:
                self.closing = True
                self.limit_reached()
        self.in_flight[task] = exchange

    def end(self) -> None:
        """Count a request that has ended. Idempotent."""
        self.in_flight.pop(asyncio.current_task(), None)
        if self._idle_waiter is not None and not self.in_flight:
            self._idle_waiter.set_result(None)
            self._idle_waiter = None

    def close(self, code: WSCloseCode = WSCloseCode.GOING_AWAY) -> None:
        """Begin to stop: the answers under way end their connections, and endless streams end.

        Args:
            code: What websockets are told that open now.
        """
        self.closing = True
        self.close_code = code
        for end in tuple(self.endless):
            end()

    async def idle(self) -> None:
        """Wait until no request is in flight."""
        while self.in_flight:
            if self._idle_waiter is None:
                self._idle_waiter = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._idle_waiter)

    def cancel(self) -> set[asyncio.Task[Any]]:
        """Cancel each request in flight, and return their tasks."""
        tasks = {task for task in self.in_flight if task is not None}
        for task in tasks:
            task.cancel()
        return tasks
