"""The websocket of a request: aiohttp's, with the handshake put off until it is used.

Flask's whole request cycle runs before the handshake: routing, hooks, session, login. A view that
returns or aborts before it uses the socket answers with plain HTTP.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any, cast
from urllib.parse import urlsplit

from aiohttp import WSCloseCode, web
from aiohttp.http_websocket import WSMessageDecodeText
from flask import has_request_context, request
from werkzeug.exceptions import BadRequest, Forbidden

from ._disconnected import Disconnected
from ._environ import Environ
from ._exchange import Exchange
from ._settings import ServerSettings
from ._traffic import Traffic
from .exceptions import ClientGone

__all__ = ("WebSocket", "WebSocketExchange", "origin_is_allowed")


class WebSocket(web.WebSocketResponse):
    """An ``aiohttp.web.WebSocketResponse`` that shakes hands when it is first used.

    Args:
        request: The request that asks for it.
        environ: The same request, as WSGI sees it.
        settings: The server's; they hold the defaults.
        traffic: Where an open socket is counted.
    """

    def __init__(
        self,
        request: web.BaseRequest,
        environ: Environ,
        settings: ServerSettings,
        traffic: Traffic,
    ) -> None:
        super().__init__(
            heartbeat=settings.websocket_heartbeat or None,
            max_msg_size=settings.websocket_max_message_size,
            # About 37 KiB a socket, and a way to send bombs: only where it is asked for.
            compress=False,
        )
        # aiohttp's own Server field tells versions.
        self.headers["Server"] = settings.server
        self._request = request
        self._environ = environ
        self._origins = settings.websocket_origins
        self._traffic = traffic

        # Held while hands are shaken: two tasks may use the socket for the first time at once.
        self._accepting = asyncio.Lock()

    async def accept(self) -> None:
        """Shake hands now (RFC 6455, section 4.2.2). Called again it does nothing.

        Raises:
            werkzeug.exceptions.Forbidden: A browser asks for a page of another origin.
            werkzeug.exceptions.BadRequest: The client's handshake is malformed.
            ClientGone: The client has left meanwhile.
        """
        async with self._accepting:
            if not self.prepared:
                await self._accept()

    async def _accept(self) -> None:
        if self._request.method != "GET" or self._request.version < (1, 1):
            raise BadRequest("a websocket is asked for with GET and HTTP/1.1")
        if not origin_is_allowed(self._environ, self._origins):
            raise Forbidden(
                f"pages of {self._environ['HTTP_ORIGIN']} may not open websockets here; "
                "AIOHTTP_WEBSOCKET_ORIGINS lists the origins that may"
            )
        try:
            await self.prepare(self._request)
        except web.HTTPException as error:
            raise BadRequest(error.text) from error
        except ConnectionError as error:
            raise Disconnected("shaking hands for a websocket") from error
        self._traffic.websockets.add(self)
        if self._traffic.closing:
            await super().close(code=WSCloseCode.GOING_AWAY)

    @property
    def transport(self) -> asyncio.Transport | None:
        """The connection, or None once it is lost."""
        return self._request.transport

    def hang_up(self) -> None:
        """Forget the socket: its request has ended."""
        self._traffic.websockets.discard(self)

    async def receive(self, timeout: float | None = None) -> WSMessageDecodeText:
        """Return the next message, after the handshake."""
        if not self.prepared:
            await self.accept()
        return await super().receive(timeout)

    async def send_str(self, data: str, compress: int | None = None) -> None:
        """Send a text message, after the handshake.

        Raises:
            ClientGone: The client has left.
        """
        async with self._sending():
            await super().send_str(data, compress)

    async def send_bytes(self, data: bytes, compress: int | None = None) -> None:
        """Send a binary message, after the handshake.

        Raises:
            ClientGone: The client has left.
        """
        async with self._sending():
            await super().send_bytes(data, compress)

    async def send_frame(self, message: bytes, opcode: Any, compress: int | None = None) -> None:
        """Send one frame, after the handshake.

        Raises:
            ClientGone: The client has left.
        """
        async with self._sending():
            await super().send_frame(message, opcode, compress)

    async def ping(self, message: bytes = b"") -> None:
        """Send a ping, after the handshake.

        Raises:
            ClientGone: The client has left.
        """
        async with self._sending():
            await super().ping(message)

    async def pong(self, message: bytes = b"") -> None:
        """Send a pong that nobody asked for, after the handshake.

        Raises:
            ClientGone: The client has left.
        """
        async with self._sending():
            await super().pong(message)

    @contextlib.asynccontextmanager
    async def _sending(self) -> AsyncIterator[None]:
        if not self.prepared:
            await self.accept()
        try:
            yield
        except ConnectionError as error:
            doing = "sending a websocket message"
            # In the socket's own view that is how it ends, and no error. In the view of somebody
            # else, who only wants to send, it must not be taken for the end of that one's client.
            if has_request_context() and request.environ is self._environ:
                raise Disconnected(doing) from error
            raise ClientGone(doing) from error

    async def close(
        self, *, code: int = WSCloseCode.OK, message: bytes = b"", drain: bool = True
    ) -> bool:
        """Close the socket (RFC 6455, section 7), after the handshake.

        Returns:
            False if it was closed already.
        """
        await self.accept()
        return await super().close(code=code, message=message, drain=drain)


class WebSocketExchange(Exchange):
    """An exchange whose answer may be a websocket: then WSGI's own answer is not sent."""

    # True if the request failed outside of Flask, which would have answered 500.
    _failed = False

    @property
    def websocket(self) -> WebSocket:
        """The request's websocket."""
        return cast("WebSocket", self.environ["wsgi.websocket"])

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
        """Close the websocket: 1000 after a view that returned, 1011 after one that failed."""
        if not self.websocket.prepared:
            await super().end()
            return
        head = self.pending.head
        failed = self._failed or (head is not None and head.code >= 500)
        await self.websocket.close(code=WSCloseCode.INTERNAL_ERROR if failed else WSCloseCode.OK)

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


def origin_is_allowed(environ: Environ, allowed: tuple[str, ...]) -> bool:
    """Return True if the page that opens a websocket may do so.

    A browser sends the page's origin, and the user's cookies with it: without this check any page
    could talk to the application in the user's name (RFC 6455, section 10.2). Other clients send
    no Origin, and pass.

    Args:
        allowed: Origins besides the request's own; ``"*"`` is every one.
    """
    origin = environ.get("HTTP_ORIGIN")
    if origin is None or "*" in allowed:
        return True
    origin = origin.lower()
    if origin in allowed:
        return True
    own = f"{environ['wsgi.url_scheme']}://{environ.get('HTTP_HOST', '')}".lower()
    authority = _authority(origin)
    return authority is not None and authority == _authority(own)


def _authority(origin: str) -> tuple[str, str, int | None] | None:
    """Return scheme, host and port, or None if there is no host that could be compared."""
    try:
        parts = urlsplit(origin)
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        return None
    return (parts.scheme, parts.hostname, port) if parts.hostname else None
