"""The websocket of a request: aiohttp's, with the handshake put off until it is used.

Rule 1: Flask's whole request cycle runs before the handshake: routing, hooks, session, login. A
        view that returns or aborts before it uses the socket answers with plain HTTP.
Rule 2: that a client leaves is no error of its own view, which ends with it. Whoever else sends to
        it is told by :exc:`ClientGone`, and goes on.
Rule 3: no wait for a client is without an end: it takes what it is sent within the send timeout.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine, Mapping
from typing import Any

from aiohttp import WSCloseCode, WSMessageTypeError, WSMsgType, web
from aiohttp.http_websocket import WSMessageDecodeText
from flask import has_request_context, request
from werkzeug.exceptions import BadRequest

from . import _handshake
from ._disconnected import Disconnected, SlowWebSocket
from ._environ import Environ
from ._frames import FrameGuard
from ._handshake import Headers
from ._protocol import Protocol
from ._threads import ThreadPool
from ._traffic import Traffic
from ._websocket_options import WebSocketOptions
from ._writer import Connection
from .exceptions import AlreadyAccepted, ClientGone, ConcurrentReceive, WebSocketClosed

__all__ = ("WebSocket",)

# What a client is told that breaks a rule.
_BREACHES = (WSCloseCode.PROTOCOL_ERROR, WSCloseCode.INVALID_TEXT, WSCloseCode.MESSAGE_TOO_BIG)

# A message of these types is the last one.
_LAST = (WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED, WSMsgType.ERROR)

# What is answered to a client's close, where it is not the same code again (RFC 6455, section
# 5.5.1): none was given; or one that "MUST NOT be set as a status code" (section 7.4.1).
_ANSWERS: dict[int, int] = {
    0: WSCloseCode.OK,
    WSCloseCode.ABNORMAL_CLOSURE: WSCloseCode.PROTOCOL_ERROR,
}


class WebSocket(web.WebSocketResponse):
    """An ``aiohttp.web.WebSocketResponse`` that shakes hands when it is first used.

    Args:
        request: The request that asks for it.
        environ: The same request, as WSGI sees it.
        connection: The way to the client.
        options: Those of a view that gives none.
        traffic: Where an open socket is counted.
        server: The Server field of the handshake.
    """

    def __init__(
        self,
        request: web.BaseRequest,
        environ: Environ,
        connection: Connection,
        *,
        options: WebSocketOptions,
        traffic: Traffic,
        server: str,
    ) -> None:
        self._request = request
        self._environ = environ
        self._connection = connection
        self._options = options
        self._traffic = traffic
        self._start_over(options)
        # aiohttp's own Server field tells versions.
        self.headers["Server"] = server

        # The pool of which an open socket holds a thread; None if its view runs on the loop.
        self.pool: ThreadPool | None = None
        self._holds_thread = False

        # Bytes of the messages that were sent.
        self.sent = 0

        # Held while hands are shaken: two tasks may use the socket for the first time at once.
        self._accepting: asyncio.Lock | None = None

        # True while a task waits for a message.
        self._receiving = False

        # True once a client that has broken a rule was told so: no frame may follow. And the rule.
        self._broken = False
        self._breach: BaseException | None = None

        # Closes the socket of a client whose message takes too long.
        self._late: asyncio.Task[bool] | None = None

        # The code with which the view itself has closed the socket: to go on is a mistake.
        self._closed_by_view: int | None = None

    def _start_over(self, options: WebSocketOptions) -> None:
        # aiohttp takes options when a socket is made. Its own wait for a slow client has no end,
        # hence a limit that is never reached: send() waits instead.
        super().__init__(**options.for_aiohttp, writer_limit=1 << 62)

    def configure(self, changes: Mapping[str, Any]) -> None:
        """Take the options of the view, which is known only now; not after the handshake.

        Args:
            changes: What :func:`parse_options` has returned.
        """
        if not changes or self.prepared:
            return
        self._options = self._options.changed(changes)
        headers = self.headers
        self._start_over(self._options)
        self.headers.extend(headers)

    async def accept(self, protocol: str | None = None, headers: Headers | None = None) -> None:
        """Shake hands now (RFC 6455, section 4.2.2). Called again it does nothing.

        The handshake carries the session's cookie, if the session has changed. What is written to
        the session later reaches no client: there is no answer any more that could carry it.

        Args:
            protocol: The subprotocol to speak, one that the client offers; by default the first
                one it offers that is among the view's.
            headers: More fields of the handshake: a mapping or pairs. What ``after_request``
                functions add is not among them: they run once, when the view has ended.

        Raises:
            werkzeug.exceptions.Forbidden: A browser asks for a page of another origin.
            werkzeug.exceptions.BadRequest: The client's handshake is malformed, or does not offer
                *protocol*.
            werkzeug.exceptions.ServiceUnavailable: The view is no ``async def``, and websockets
                hold all threads that they may.
            InvalidResponse: *headers* cannot be sent.
            AlreadyAccepted: There are arguments, but the handshake is over.
            ClientGone: The client has left meanwhile.
        """
        if not self.prepared:
            if self._accepting is None:
                self._accepting = asyncio.Lock()
            async with self._accepting:
                if not self.prepared:
                    await self._accept(protocol, headers)
                    return
        if protocol is not None or headers is not None:
            raise AlreadyAccepted

    async def _accept(self, protocol: str | None, headers: Headers | None) -> None:
        own = self._is_own()
        _handshake.check(
            self._request, request.environ if own else self._environ, self._options.origins
        )
        if protocol is not None:
            _handshake.check_protocol(self._environ, protocol)
            self.configure({"protocols": (protocol,)})
        for name, value in _handshake.fields(headers or (), with_session=own):
            self.headers.add(name, value)
        if self.pool is not None:
            _handshake.check_threads(self.pool, self._traffic)
            self._holds_thread = True
            self._traffic.threads_held += 1
        try:
            await self.prepare(self._request)
        except web.HTTPException as error:
            raise BadRequest(error.text) from error
        except ConnectionError as error:
            raise Disconnected("shaking hands for a websocket") from error
        self._traffic.websockets.add(self)
        if (frames := self._frames()) is not None:
            frames.limit(self._options.message_timeout, self._close_late)
        if self._traffic.closing:
            await super().close(code=self._traffic.close_code)

    @property
    def transport(self) -> asyncio.Transport | None:
        """The connection, or None once it is lost."""
        return self._request.transport

    def hang_up(self) -> None:
        """Forget the socket: its request has ended."""
        self._traffic.websockets.discard(self)
        if self._holds_thread:
            self._holds_thread = False
            self._traffic.threads_held -= 1
        if (frames := self._frames()) is not None:
            frames.stop()

    def _frames(self) -> FrameGuard | None:
        """Return what looks at the frames; None under a server of somebody else's."""
        protocol = self._request.protocol
        return protocol.frames if isinstance(protocol, Protocol) else None

    def _close_late(self) -> None:
        close = self.close(code=WSCloseCode.POLICY_VIOLATION, message=b"message timeout")
        self._late = asyncio.get_running_loop().create_task(close, name="close late websocket")

    async def receive(self, timeout: float | None = None) -> WSMessageDecodeText:
        """Return the next message, after the handshake.

        Args:
            timeout: Seconds to wait at most; by default those of the view's options.

        Raises:
            TimeoutError: No message came in time. Where nobody catches it the socket is closed
                with 1008, and it is no error.
            ConcurrentReceive: Another task waits already.
            WebSocketClosed: It was closed, and that was told several times.
        """
        if not self.prepared:
            await self.accept()
        if self._receiving:
            raise ConcurrentReceive
        self._receiving = True
        try:
            message = await super().receive(timeout)
        except asyncio.TimeoutError:
            raise SlowWebSocket(timeout or self._options.timeout) from None
        except RuntimeError as error:
            if self.closed:
                raise WebSocketClosed(self._closed_by_view or self.close_code) from error
            raise
        finally:
            self._receiving = False
        if message.type is WSMsgType.ERROR:
            self._breach = message.data
        return message

    def exception(self) -> BaseException | None:
        """Return what went wrong: an ``aiohttp.WebSocketError``, if the client broke a rule."""
        return self._breach or super().exception()

    async def __anext__(self) -> WSMessageDecodeText:
        """Return the next message; end when there will be none.

        aiohttp yields an error message before it ends. It has been dealt with: the socket is
        closed with the code that says what the client did wrong.
        """
        message = await self.receive()
        if message.type in _LAST:
            raise StopAsyncIteration
        return message

    async def receive_str(self, *, timeout: float | None = None) -> str:
        """Return the next message, a text; ``receive_json()`` asks here too.

        Raises:
            aiohttp.WSMessageTypeError: It is not a text.
            ClientGone: The socket is closed. Where nobody catches it, it is no error.
        """
        try:
            return await super().receive_str(timeout=timeout)
        except WSMessageTypeError:
            self._raise_if_over()
            raise

    async def receive_bytes(self, *, timeout: float | None = None) -> bytes:
        """Return the next message, a binary one.

        Raises:
            aiohttp.WSMessageTypeError: It is a text.
            ClientGone: The socket is closed. Where nobody catches it, it is no error.
        """
        try:
            return await super().receive_bytes(timeout=timeout)
        except WSMessageTypeError:
            self._raise_if_over()
            raise

    def _raise_if_over(self) -> None:
        if self.closed:
            raise Disconnected("waiting for a websocket message") from None

    def send_str(self, data: str, compress: int | None = None) -> Coroutine[Any, Any, None]:
        """Send a text message, after the handshake.

        Raises:
            ClientGone: The client has left, or has not read for too long.
            WebSocketClosed: The view has closed the socket itself.
        """
        if not isinstance(data, str):
            raise TypeError(f"send_str() sends str, not {type(data).__name__}")
        return self._send(data.encode(), WSMsgType.TEXT, compress)

    def send_bytes(self, data: bytes, compress: int | None = None) -> Coroutine[Any, Any, None]:
        """Send a binary message; it raises what :meth:`send_str` does."""
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError(f"send_bytes() sends bytes, not {type(data).__name__}")
        return self._send(data, WSMsgType.BINARY, compress)

    def send_frame(
        self, message: bytes, opcode: WSMsgType, compress: int | None = None
    ) -> Coroutine[Any, Any, None]:
        """Send one frame; it raises what :meth:`send_str` does."""
        return self._send(message, opcode, compress)

    def ping(self, message: bytes = b"") -> Coroutine[Any, Any, None]:
        """Send a ping; it raises what :meth:`send_str` does."""
        return self._send(message, WSMsgType.PING, None)

    def pong(self, message: bytes = b"") -> Coroutine[Any, Any, None]:
        """Send a pong that nobody asked for; it raises what :meth:`send_str` does."""
        return self._send(message, WSMsgType.PONG, None)

    async def _send(self, message: bytes, opcode: WSMsgType, compress: int | None) -> None:
        if not self.prepared:
            await self.accept()
        if self._broken:
            raise self._not_sent()
        try:
            await super().send_frame(message, opcode, compress)
            await self._connection.drain()
        except ConnectionError as error:
            raise self._not_sent() from error
        self.sent += len(message)

    def _not_sent(self) -> Exception:
        doing = "sending a websocket message"
        if not self._is_own():
            # Who only wants to send to it must not take this for the end of his own client.
            return ClientGone(doing)
        if self._closed_by_view is not None:
            return WebSocketClosed(self._closed_by_view)
        return Disconnected(doing)

    def _is_own(self) -> bool:
        """Return True in the socket's own view, and in tasks that it has started."""
        return has_request_context() and request.environ.get("wsgi.websocket") is self

    async def close(
        self, *, code: int = WSCloseCode.OK, message: bytes = b"", drain: bool = True
    ) -> bool:
        """Close the socket (RFC 6455, section 7), after the handshake.

        Returns:
            False if it was closed already.
        """
        await self.accept()
        if self.closed:
            return False
        if self.close_code is not None:
            # aiohttp calls from receive(), where the client has closed or broken a rule. It would
            # answer 1000 to each close, also to one whose code must not be sent.
            code = _ANSWERS.get(self.close_code, self.close_code)
            if code in _BREACHES:
                await self._tell_breach(code)
        elif self._is_own():
            self._closed_by_view = code
        if drain:
            with contextlib.suppress(ClientGone):
                await self._connection.drain()
        try:
            return await super().close(code=code, message=message, drain=False)
        finally:
            self._drop_what_is_not_read()

    async def _tell_breach(self, code: int) -> None:
        """Close so that a client that is still sending sees the code, and not a reset."""
        protocol = self._request.protocol
        if isinstance(protocol, Protocol):
            with contextlib.suppress(ConnectionError):
                await super().send_frame(code.to_bytes(2, "big"), WSMsgType.CLOSE)
            self._broken = True
            await protocol.linger()

    def _drop_what_is_not_read(self) -> None:
        """Let the rest of what was sent hold the connection for a while, not for ever."""
        transport = self._request.transport
        if transport is not None and transport.get_write_buffer_size():
            loop = asyncio.get_running_loop()
            loop.call_later(self._options.close_timeout, transport.abort)
