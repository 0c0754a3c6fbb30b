"""aiohttp's connection, which also tells a request under way that its client has left."""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import web

from ._exchange import Exchange
from ._head_timer import HeadTimer

__all__ = ("Protocol", "watch")

# Seconds in which the next request of a pipeline has surely begun.
_PAUSE = 0.05


class Protocol(HeadTimer):
    """One connection of this project's own servers.

    Under a server of somebody else's a disconnect is noticed at the next write only.
    """

    __slots__ = ("_half_closed", "exchange", "server")

    def __init__(self, manager: web.Server, *, server: str, **options: Any) -> None:
        super().__init__(manager, **options)

        # The Server field of answers to what is no request.
        self.server = server

        # The request that is served on this connection at the moment; set by watch().
        self.exchange: Exchange | None = None

        # True once the client has closed its side.
        self._half_closed = False

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
        self._half_closed = True
        self._close_if_idle_soon()
        return True

    def finished(self) -> None:
        """Take note that the request under way has been answered."""
        self.exchange = None
        if self._half_closed:
            self._close_if_idle_soon()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what is no request as gunicorn does: one line in the log, and no traceback."""
        if status != 400:
            return super().handle_error(request, status, exc, message)
        first_line = (message or "").partition("\n")[0].rstrip(":")
        peer = self.peername[0] if isinstance(self.peername, tuple) else ""
        self.logger.warning("Invalid request from ip=%s: %r", peer, first_line)
        response = web.Response(status=400, text="Bad Request\n")
        response.headers["Server"] = self.server
        response.force_close()
        return response

    def _close_if_idle_soon(self) -> None:
        # A request that came together with the end, or that waits in the pipeline, begins some
        # turns of the loop later.
        asyncio.get_running_loop().call_later(_PAUSE, self._close_if_idle)

    def _close_if_idle(self) -> None:
        waits_for_answer = self.exchange is not None and self.exchange.client_half_closed()
        if not waits_for_answer and self.transport is not None:
            self.transport.close()


def watch(request: web.BaseRequest, exchange: Exchange | None) -> None:
    """Let the request's connection tell *exchange* of its end; None ends that."""
    protocol = request.protocol
    if not isinstance(protocol, Protocol):
        return
    if exchange is None:
        protocol.finished()
    else:
        protocol.exchange = exchange
