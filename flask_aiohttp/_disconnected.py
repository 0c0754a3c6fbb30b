"""A client that has left, in words that both asyncio and Flask understand."""

from __future__ import annotations

from werkzeug.exceptions import ClientDisconnected

from .exceptions import ClientGone

__all__ = ("Disconnected",)


class Disconnected(ClientGone, ClientDisconnected):
    """Raised to the application where it reads from or writes to a client that has left.

    Flask knows it as Werkzeug's own ``ClientDisconnected``: it is no error of the application,
    and no traceback in its log.
    """

    def __init__(self, what: str) -> None:
        ClientGone.__init__(self, what)
        self.description = str(self)
        self.response = None
