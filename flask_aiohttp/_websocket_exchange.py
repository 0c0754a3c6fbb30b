"""An exchange whose answer may be a websocket: then WSGI's own answer is not sent."""

from __future__ import annotations

from typing import Any, cast

from aiohttp import WSCloseCode, web

from ._exchange import Exchange
from ._threads import ThreadPool
from ._websocket import WebSocket

__all__ = ("WebSocketExchange",)


class WebSocketExchange(Exchange):
    """An exchange whose answer may be a websocket: then WSGI's own answer is not sent."""

    __slots__ = ("_failed",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)

        # True if the request failed outside of Flask, which would have answered 500.
        self._failed = False

    @property
    def websocket(self) -> WebSocket:
        """The request's websocket."""
        return cast("WebSocket", self.environ["wsgi.websocket"])

    def enter_thread(self, pool: ThreadPool) -> None:
        """Take note that the socket, if it opens, will hold a thread of *pool*."""
        super().enter_thread(pool)
        self.websocket.pool = pool

    @property
    def status(self) -> str:
        """The status for the log."""
        return "101 Switching Protocols" if self.websocket.prepared else super().status

    def write(self, data: bytes) -> None:
        """Send one piece of the body, unless there is a websocket."""
        if not self.websocket.prepared:
            super().write(data)

    def finish(self) -> None:
        """Send what is due after the body, unless there is a websocket."""
        if not self.websocket.prepared:
            super().finish()

    def fail(self, status: str) -> None:
        """Bring the answer to an end after the application has failed."""
        self._failed = True
        if not self.websocket.prepared:
            super().fail(status)

    async def end(self) -> None:
        """Close the websocket.

        With 1000 after a view that returned, 1011 after one that failed, 1008 after one that has
        waited too long for a message.
        """
        if not self.websocket.prepared:
            await super().end()
            return
        await self.websocket.close(code=self._close_code())
        self.sent = self.websocket.sent

    def _close_code(self) -> WSCloseCode:
        head = self.pending.head
        if self._failed or (head is not None and head.code >= 500):
            return WSCloseCode.INTERNAL_ERROR
        if head is not None and head.code == 408:
            return WSCloseCode.POLICY_VIOLATION
        return WSCloseCode.OK

    @property
    def is_streaming(self) -> bool:
        """True while an HTTP body is under way; a websocket tells its view itself that it ends."""
        return not self.websocket.prepared and super().is_streaming

    def client_half_closed(self) -> bool:
        """Take note that the client sends no more; a websocket is over with that."""
        return super().client_half_closed() and not self.websocket.prepared

    def release(self) -> None:
        """Count the websocket no more."""
        super().release()
        self.websocket.hang_up()

    def response(self) -> web.StreamResponse:
        """Return the websocket, or what aiohttp is told about the HTTP answer."""
        return self.websocket if self.websocket.prepared else super().response()
