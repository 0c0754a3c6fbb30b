"""A connection whose client takes nothing of what is left to send, though no request waits for it.

The last bytes of an answer are handed to the connection and not waited for. Where they are not read
either, closing would wait for ever: the connection, its buffers and its place among the
``worker_connections`` would be the client's for as long as it likes.
"""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import web

from ._head_timer import HeadTimer
from ._settings import ServerSettings
from ._writer import reset

__all__ = ("UnreadTimer",)


class UnreadTimer(HeadTimer):
    """One connection whose client has so long to take more of what it has asked for.

    Args:
        manager: aiohttp's server.
        send_timeout: Seconds without progress.
        options: Those of :class:`HeadTimer`.
    """

    __slots__ = ("_send_timeout", "_unread_timer")

    def __init__(
        self,
        manager: web.Server,
        *,
        send_timeout: float = ServerSettings.send_timeout,
        **options: Any,
    ) -> None:
        super().__init__(manager, **options)
        self._send_timeout = send_timeout

        # Looks whether there was progress; None while nobody has to.
        self._unread_timer: asyncio.TimerHandle | None = None

    def connection_lost(self, exc: BaseException | None) -> None:
        """Stop the timer."""
        if self._unread_timer is not None:
            self._unread_timer.cancel()
            self._unread_timer = None
        super().connection_lost(exc)

    def watch_unread(self, transport: asyncio.Transport) -> None:
        """Give the client its time, if anything is left for it."""
        if self._unread_timer is None and (left := transport.get_write_buffer_size()):
            loop = asyncio.get_running_loop()
            # aiohttp forgets the transport as soon as it has closed it.
            self._unread_timer = loop.call_later(self._send_timeout, self._look, transport, left)

    def _look(self, transport: asyncio.Transport, before: int) -> None:
        self._unread_timer = None
        # While a request is under way its own answer is written, and waited for.
        under_way = self._waiter is None and not transport.is_closing()
        if not under_way and transport.get_write_buffer_size() >= before:
            self.logger.debug("A client took nothing of an answer for %s s", self._send_timeout)
            reset(transport)
        else:
            self.watch_unread(transport)
