"""aiohttp's connection, which also tells a request under way that its client has left."""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import web

from ._exchange import Exchange

__all__ = ("Protocol", "watch")


class Protocol(web.RequestHandler):
    """One connection of this project's own servers.

    Under a server of somebody else's a disconnect is noticed at the next write only.
    """

    __slots__ = ("exchange",)

    def __init__(self, manager: web.Server, **options: Any) -> None:
        super().__init__(manager, **options)

        # The request that is served on this connection at the moment; set by watch().
        self.exchange: Exchange | None = None

    def connection_lost(self, exc: BaseException | None) -> None:
        """Tell the exchange that nothing will be read or sent any more."""
        exchange, self.exchange = self.exchange, None
        super().connection_lost(exc)
        if exchange is not None:
            exchange.client_left()

    def eof_received(self) -> bool:  # type: ignore[override]  # asyncio looks at the result
        """Let a client that has said all it wants to say have its answer."""
        if self.ssl_context is not None:
            return False  # TLS has no half-closed connections
        # A request that came together with this begins two turns of the loop later (Python 3.11).
        loop = asyncio.get_running_loop()
        loop.call_soon(loop.call_soon, self._after_eof)
        return True

    def _after_eof(self) -> None:
        if self.exchange is not None and self.exchange.client_half_closed():
            self.close()  # after this answer: no request can follow
        elif self.transport is not None:
            self.transport.close()


def watch(request: web.BaseRequest, exchange: Exchange | None) -> None:
    """Let the request's connection tell *exchange* of its end; None ends that."""
    protocol = request.protocol
    if isinstance(protocol, Protocol):
        protocol.exchange = exchange
