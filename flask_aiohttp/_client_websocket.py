"""The client's end of a websocket in a test, for synchronous code.

Each wait has a deadline, and an error that says what was waited for.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, Iterable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar, cast

from aiohttp import ClientWebSocketResponse, WSMessage, WSMsgType
from flask import Flask

from ._environ import Environ
from ._in_process import PRESERVE_CONTEXT, InProcess
from ._waiting import await_, hold_up
from .exceptions import WebSocketEnded, WebSocketTimeout

if TYPE_CHECKING:
    from werkzeug.test import TestResponse

__all__ = ("ClientWebSocket", "Handshake")

T = TypeVar("T")

# Types of messages that are none: the websocket has ended.
_ENDS = (WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED, WSMsgType.ERROR)


class ClientWebSocket:
    """The client's end of a websocket to the application under test.

    Methods that wait raise :exc:`WebSocketTimeout` after the client's ``timeout``, or their own.
    All raise what the view has raised, if the application propagates that.
    """

    def __init__(
        self,
        keep: Callable[[list[contextlib.AbstractContextManager[Any]]], None],
        response: TestResponse,
        link: InProcess,
        path: str,
        timeout: float,
    ) -> None:
        # The answer to the handshake: its headers and cookies.
        self.response = response

        # Takes the contexts of the request when that has ended.
        self._keep = keep

        self._link: InProcess | None = link
        self._socket = cast("ClientWebSocketResponse", link.socket)
        self._application = link.application
        self._path = path
        self._timeout = timeout

    @property
    def protocol(self) -> str | None:
        """The subprotocol that the application has chosen."""
        return self.response.headers.get("Sec-WebSocket-Protocol")

    @property
    def close_code(self) -> int | None:
        """The code with which the websocket was closed; None while it is open."""
        return self._socket.close_code

    def send_str(self, data: str) -> None:
        """Send a text message."""
        self._send(lambda: self._socket.send_str(data))

    def send_bytes(self, data: bytes) -> None:
        """Send a binary message."""
        self._send(lambda: self._socket.send_bytes(data))

    def send_json(self, data: Any) -> None:
        """Send *data* as a text message with JSON."""
        self.send_str(json.dumps(data))

    def receive(self, timeout: float | None = None) -> WSMessage:
        """Return the next message, which may also be the end (``WSMsgType.CLOSE``).

        Args:
            timeout: Seconds to wait at most.
        """
        message = self._wait(self._socket.receive(), "a message", timeout)
        if message.type in _ENDS:
            self._raise_error_of_the_view()
        return message

    def receive_str(self, timeout: float | None = None) -> str:
        """Return the text of the next message.

        Raises:
            WebSocketEnded: There is none: the application has closed the websocket.
            TypeError: The message is binary.
        """
        return cast("str", self._data(WSMsgType.TEXT, timeout))

    def receive_bytes(self, timeout: float | None = None) -> bytes:
        """Return the bytes of the next message.

        Raises:
            WebSocketEnded: There is none: the application has closed the websocket.
            TypeError: The message is text.
        """
        return cast("bytes", self._data(WSMsgType.BINARY, timeout))

    def receive_json(self, timeout: float | None = None) -> Any:
        """Return what the next message, a text, says in JSON."""
        return json.loads(self.receive_str(timeout))

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Close the websocket, and wait for the view's end. Idempotent.

        Raises:
            WebSocketTimeout: The view goes on all the same; it is cancelled.
        """
        link, self._link = self._link, None
        if link is None:
            return
        try:
            closing = self._socket.close(code=code, message=reason.encode())
            # aiohttp bounds this itself.
            self._wait(closing, "its close", 2 * self._timeout)
        finally:
            with hold_up():
                ended = await_(link.close())
        self._keep(link.contexts)
        self._raise_error_of_the_view()
        if not ended:
            raise WebSocketTimeout(self._path, "the end of its view after the close", self._timeout)

    def __enter__(self) -> ClientWebSocket:
        return self

    def __exit__(
        self,
        exc_type: type | None,
        exc_value: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        try:
            self.close()
        except Exception:
            # What the test itself says is wrong comes first.
            if exc_value is None:
                raise

    def _data(self, kind: WSMsgType, timeout: float | None) -> Any:
        message = self.receive(timeout)
        if message.type in _ENDS:
            raise WebSocketEnded(self.close_code or 1006, message.extra or "")
        if message.type is not kind:
            raise TypeError(f"a message of type {message.type.name}, not {kind.name}: {message!r}")
        return message.data

    def _send(self, send: Callable[[], Awaitable[None]]) -> None:
        if self._link is None:
            raise WebSocketEnded(self.close_code or 1006)
        try:
            self._wait(send(), "its taking a message", None)
        except ConnectionError as error:
            self._raise_error_of_the_view()
            raise WebSocketEnded(self.close_code or 1006) from error

    def _wait(self, awaitable: Awaitable[T], what: str, timeout: float | None) -> T:
        seconds = self._timeout if timeout is None else timeout
        return _wait(awaitable, self._path, what, seconds)

    def _raise_error_of_the_view(self) -> None:
        error, self._application.error = self._application.error, None
        if error is not None:
            raise error


class Handshake:
    """A WSGI application that asks the served one for a websocket, and gives back its answer."""

    def __init__(
        self, app: Flask, path: str, protocols: Sequence[str], compress: int, timeout: float
    ) -> None:
        self._app = app
        self._path = path
        self._protocols = protocols
        self._compress = compress
        self._timeout = timeout

        # The connection, if it has become a websocket.
        self.link: InProcess | None = None

    def __call__(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        link = InProcess(
            self._app,
            environ,
            protocols=self._protocols,
            compress=self._compress,
            timeout=self._timeout,
        )
        try:
            answer = _wait(link.connect(), self._path, "an answer", self._timeout)
        finally:
            if link.socket is None:
                with hold_up():
                    await_(link.close())
        if link.application.error is not None:
            raise link.application.error
        if link.socket is not None:
            self.link = link
        elif (keep := environ.get(PRESERVE_CONTEXT)) is not None:
            for context in link.contexts:
                keep(context)
        start_response(answer.status, answer.headers)
        return [answer.body]


def _wait(awaitable: Awaitable[T], path: str, what: str, seconds: float) -> T:
    with hold_up():
        try:
            return await_(asyncio.wait_for(awaitable, seconds))
        except asyncio.TimeoutError:
            raise WebSocketTimeout(path, what, seconds) from None
