"""aiohttp's connection, with a limit to the time in which a request's head arrives.

aiohttp's own timer is that of idle connections: it also ends a head under way, and there is none
where no connection is kept. Here a head has a time of its own, from the accept or from its first
byte, whatever the keepalive.
"""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import web

__all__ = ("HeadTimer",)


class HeadTimer(web.RequestHandler):
    """One connection whose client has so long for each request head, and no longer.

    Args:
        manager: aiohttp's server.
        head_timeout: Seconds.
        options: Those of ``aiohttp.web.RequestHandler``.
    """

    __slots__ = ("_head_timeout", "_head_timer", "_heads")

    def __init__(self, manager: web.Server, *, head_timeout: float, **options: Any) -> None:
        super().__init__(manager, **options)
        self._head_timeout = head_timeout

        # Ends the connection; None while no head is under way.
        self._head_timer: asyncio.TimerHandle | None = None

        # Heads that were whole when last looked.
        self._heads = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Give the client its time for the first head."""
        super().connection_made(transport)
        self._start_timer()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Stop the timer."""
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take note of a head's beginning and of its end."""
        super().data_received(data)
        if self._request_count != self._heads:
            self._heads = self._request_count
            self._stop_timer()
        elif self._waiter is not None and self._head_timer is None:
            # aiohttp waits for a request, and got a part of one. (Of one that begins while the
            # last is answered nothing is seen: it has the time of an idle connection.)
            self._start_timer()

    def _start_timer(self) -> None:
        # Stops aiohttp's timer; it starts the next one with the next answer.
        self.keep_alive(True)
        loop = asyncio.get_running_loop()
        self._head_timer = loop.call_later(self._head_timeout, self._end_late_head)

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _end_late_head(self) -> None:
        self._head_timer = None
        self.logger.debug("A client sent no whole request head in %s s", self._head_timeout)
        self.force_close()
