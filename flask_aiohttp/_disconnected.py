"""Clients that have left or stand still, in words that both asyncio and Flask understand."""

from __future__ import annotations

import asyncio

from werkzeug.exceptions import ClientDisconnected, RequestTimeout

from .exceptions import ClientGone

__all__ = ("Disconnected", "SlowClient", "SlowWebSocket")


class Disconnected(ClientGone, ClientDisconnected):
    """Raised to the application where it reads from or writes to a client that has left.

    Flask knows it as Werkzeug's own ``ClientDisconnected``: it is no error of the application,
    and no traceback in its log.
    """

    def __init__(self, what: str) -> None:
        ClientGone.__init__(self, what)
        self.description = str(self)
        self.response = None


class SlowClient(ClientGone, RequestTimeout, TimeoutError):
    """Raised to the application where it waits for a body that does not arrive.

    Flask knows it as Werkzeug's own ``RequestTimeout``, and answers 408.

    Args:
        timeout: Seconds that were waited (``AIOHTTP_BODY_TIMEOUT``).
    """

    def __init__(self, timeout: float) -> None:
        ClientGone.__init__(self, "reading the request body")
        self.timeout = timeout
        self.description = str(self)
        self.response = None

    def __str__(self) -> str:
        return f"nothing of the request body arrived for {self.timeout:g} seconds"


class SlowWebSocket(SlowClient, asyncio.TimeoutError):
    """Raised to the application where it waits for a websocket message that does not come.

    Args:
        timeout: Seconds that were waited.
    """

    def __str__(self) -> str:
        return f"no websocket message came for {self.timeout:g} seconds"
