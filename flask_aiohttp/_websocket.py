"""The websocket of a request: what it receives and sends, and how it ends.

Rule 1: that a client leaves is no error of its own view, which ends with it. Whoever else sends to
        it is told by :exc:`ClientGone`, and goes on.
Rule 2: no wait for a client is without an end: it takes what it is sent within the send timeout.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine
from contextvars import Context
from typing import Any

from aiohttp import WSCloseCode, WSMessageTypeError, WSMsgType
from aiohttp.http_websocket import WSMessageDecodeText

from ._disconnected import Disconnected, SlowWebSocket
from ._opening import OpeningWebSocket
from ._protocol import Protocol
from .exceptions import ClientGone, ConcurrentReceive, WebSocketClosed

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


class WebSocket(OpeningWebSocket):
    """An ``aiohttp.web.WebSocketResponse`` that shakes hands when it is first used."""

    __slots__ = ("_breach", "_broken", "_closed_by_view", "_receiving", "sent")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)

        # Bytes of the messages that were sent.
        self.sent = 0

        # True while a task waits for a message.
        self._receiving = False

        # True once a client that has broken a rule was told so: no frame may follow. And the rule.
        self._broken = False
        self._breach: BaseException | None = None

        # The code with which the view itself has closed the socket: to go on is a mistake.
        self._closed_by_view: int | None = None

    @property
    def over(self) -> bool:
        """True once no frame may follow, also while a client that broke a rule is still heard."""
        return self.closed or self._broken

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

    async def close(
        self, *, code: int = WSCloseCode.OK, message: bytes = b"", drain: bool = True
    ) -> bool:
        """Close the socket (RFC 6455, section 7), after the handshake.

        Returns:
            False if it was closed already.
        """
        await self.accept()
        if self.closed:
            self._drop_what_is_not_read()
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
            loop.call_later(self._options.close_timeout, transport.abort, context=Context())
