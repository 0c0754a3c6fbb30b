"""aiohttp's connection, which also tells a request under way that its client has left."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any, cast

from aiohttp import web

from ._chunk_budget import ChunkBudget
from ._environ import Reading
from ._exchange import Exchange
from ._frames import FrameGuard, Reader
from ._policy import RequestRefused
from ._refusal import Refusal, log_refusal, status_of
from ._unread_timer import UnreadTimer
from ._writer import SentResponse

__all__ = ("Protocol", "linger_after", "refuse", "watch")

# Seconds in which the next request of a pipeline has surely begun.
_PAUSE = 0.05

# Seconds and bytes that a refused client may go on sending: it looks at the answer afterwards.
_LINGER = 2.0
_MAX_SURPLUS = 1 << 22

_OVER_BUDGET = "too much around the chunks of a body"


class Protocol(UnreadTimer):
    """One connection of this project's own servers.

    Under a server of somebody else's a disconnect is noticed at the next write only.

    Args:
        lost: Called with this object when the connection has ended.
    """

    __slots__ = (
        *("_budget", "_half_closed", "_left", "_lost", "_received", "_surplus"),
        *("exchange", "frames", "reading", "server"),
    )

    def __init__(
        self,
        manager: web.Server,
        *,
        server: str,
        lost: Callable[[Protocol], object] = lambda _: None,
        **options: Any,
    ) -> None:
        super().__init__(manager, **options)
        self._lost = lost

        # How the requests of this connection are read; made when the first one is.
        self.reading: Reading | None = None

        # The Server field of answers to what is no request.
        self.server = server

        # The request that is served on this connection at the moment; set by watch().
        self.exchange: Exchange | None = None

        # What looks at a websocket's frames; None until the connection carries one.
        self.frames: FrameGuard | None = None

        # True once the client has closed its side.
        self._half_closed = False

        # Resolved when a client that was refused has left, and the bytes that it has sent since;
        # None until linger().
        self._left: asyncio.Future[None] | None = None
        self._surplus = 0

        # Bytes that have arrived since the last answer, and what the chunks of the request under
        # way may take of them; None without chunks.
        self._received = 0
        self._budget: ChunkBudget | None = None

    def data_received(self, data: bytes) -> None:
        """Take what has arrived; drop it, if no more is wanted."""
        if self._left is None:
            self._received += len(data)
            super().data_received(data)
            if self._budget is not None and self._is_over_budget():
                log_refusal(self, _OVER_BUDGET)
                self._budget.refuse_body()
                self.force_close()
            return
        self._surplus += len(data)
        if self._surplus > _MAX_SURPLUS:
            self._has_left()

    def set_parser(
        self, parser: Reader, data_received_cb: Callable[[], None] | None = None
    ) -> None:
        """Let the connection carry a websocket, and no request any more."""
        self.reading = None
        self.frames = FrameGuard(parser)
        # That of requests, which keeps the last head. aiohttp lets go of it with the connection.
        self._parser = None
        super().set_parser(cast("Any", self.frames), data_received_cb)

    def begin_chunks(self, request: web.BaseRequest) -> None:
        """Bound what stands around the chunks of *request*, which has just begun.

        Raises:
            RequestRefused: It is too much already.
        """
        self._budget = ChunkBudget(request)
        if self._is_over_budget():
            raise RequestRefused("400 Bad Request", _OVER_BUDGET)

    def _is_over_budget(self) -> bool:
        # While reading is paused, the parser holds back what it was given.
        budget = self._budget
        return (
            budget is not None and not self._reading_paused and budget.is_exceeded(self._received)
        )

    def connection_lost(self, exc: BaseException | None) -> None:
        """Tell the exchange that nothing will be read or sent any more."""
        exchange, self.exchange = self.exchange, None
        super().connection_lost(exc)
        self._has_left()
        self._lost(self)
        if exchange is not None:
            exchange.client_left()

    def eof_received(self) -> bool:  # type: ignore[override]  # asyncio looks at the result
        """Let a client that has said all it wants to say have its answer."""
        if self.ssl_context is not None:
            return False  # TLS has no half-closed connections
        self._half_closed = True
        self._has_left()
        self._close_if_idle_soon()
        return True

    @property
    def idle_since(self) -> float | None:
        """The loop's time since which there has been no request; None while there is one.

        aiohttp keeps both to itself: what it waits for, and when it will have waited enough.
        """
        if self.transport is None or self._messages or not self._waiter or self._waiter.done():
            return None
        return self._next_keepalive_close_time - self._keepalive_timeout

    async def linger(self) -> None:
        """Close, but let the client read its answer although it may still be sending.

        Where there are unread bytes TCP sends a reset instead of an end, and that may overtake the
        answer (RFC 9112, section 9.6).
        """
        transport = self.transport
        if transport is None or transport.is_closing() or self._half_closed:
            return
        self._left = asyncio.get_running_loop().create_future()
        if transport.can_write_eof():  # not over TLS
            transport.write_eof()
        with contextlib.suppress(RuntimeError):  # it was not paused, says uvloop
            transport.resume_reading()
        await asyncio.wait({self._left}, timeout=_LINGER)
        self.force_close()

    def _has_left(self) -> None:
        if self._left is not None and not self._left.done():
            self._left.set_result(None)

    def finished(self) -> None:
        """Take note that the request under way has been answered."""
        self.exchange = self._budget = None
        self._received = 0
        if self._half_closed:
            self._close_if_idle_soon()
        if self.transport is not None:
            self.watch_unread(self.transport)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what is no request as gunicorn does: one line in the log, and no traceback.

        Nor is there one for a body that breaks off or off the rules, below a native route.
        """
        left = isinstance(exc, ConnectionError) and self.transport is None
        if left or (isinstance(exc, web.RequestPayloadError) and not request.writer.output_size):
            return refuse(request, RequestRefused("400 Bad Request", f"no whole body: {exc}"))
        if status != 400:
            return super().handle_error(request, status, exc, message)
        first_line = (message or "").partition("\n")[0].rstrip(":")
        refused = RequestRefused(status_of(exc, self.max_line_size), first_line)
        return refuse(request, refused)

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


def refuse(request: web.BaseRequest, refused: RequestRefused) -> web.StreamResponse:
    """Answer what cannot be served as gunicorn does: one line in the log, and no traceback."""
    protocol = request.protocol
    log_refusal(protocol, str(refused))
    if isinstance(protocol, Protocol):
        return linger_after(Refusal(refused.status, protocol.server), request)
    response = web.Response(status=int(refused.status[:3]), text=f"{refused.status[4:]}\n")
    response.force_close()
    return response


def linger_after(response: web.StreamResponse, request: web.BaseRequest) -> web.StreamResponse:
    """Let *response* end its connection in order, whatever the client sends meanwhile."""
    protocol = request.protocol
    if isinstance(protocol, Protocol) and isinstance(response, SentResponse):
        response.linger = protocol.linger
    return response
