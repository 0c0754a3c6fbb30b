"""What can go wrong, as one tree.

FlaskAioHTTPError
├── AlreadyAccepted      (RuntimeError)     ``aio.ws.accept()`` with wishes, after the handshake
├── BridgeRequired       (RuntimeError)     waiting on the event loop's own bare stack
├── ClientGone           (ConnectionError)  the client left before the request or answer was whole
├── ConcurrentReceive    (RuntimeError)     two tasks wait for messages of one websocket at once
├── InvalidResponse      (ValueError)       the application broke a rule of PEP 3333 or RFC 9110
├── NoWebSocket          (RuntimeError)     ``aio.ws`` in a request that is not a websocket's
├── WebSocketClosed      (RuntimeError)     a websocket is used after its own view has closed it
├── WebSocketUnsupported (RuntimeError)     a websocket route under a server that has none
├── WebSocketRejected    (ConnectionError)  a test's websocket was answered with plain HTTP
├── WebSocketEnded       (ConnectionError)  a test uses a websocket that has been closed
├── WebSocketTimeout     (TimeoutError)     a test waited in vain for its websocket
├── NotInitialized       (RuntimeError)     the Flask application was never given to ``AioHTTP``
├── InvalidRoom          (ValueError)       what was to name a room cannot
├── RoomMessageTooLarge  (ValueError)       a message for a room that is too large to be passed on
├── RoomsUnavailable     (ConnectionError)  a process that is no worker cannot reach one
├── InvalidApplication   (TypeError)        what was to be served is no application
└── InvalidSetting       (ValueError)       a configuration value that cannot be used

Each error keeps the facts as attributes and composes its sentence from them. The sentence says
what to do.
"""

from __future__ import annotations

from typing import Any

__all__ = (
    "AlreadyAccepted",
    "BridgeRequired",
    "ClientGone",
    "ConcurrentReceive",
    "FlaskAioHTTPError",
    "InvalidApplication",
    "InvalidResponse",
    "InvalidRoom",
    "InvalidSetting",
    "NoWebSocket",
    "NotInitialized",
    "RoomMessageTooLarge",
    "RoomsUnavailable",
    "WebSocketClosed",
    "WebSocketEnded",
    "WebSocketRejected",
    "WebSocketTimeout",
    "WebSocketUnsupported",
)


class FlaskAioHTTPError(Exception):
    """Base of all errors of this package."""


class AlreadyAccepted(FlaskAioHTTPError, RuntimeError):
    """Raised when ``accept()`` is given a protocol or headers after the handshake."""

    def __str__(self) -> str:
        return (
            "the websocket's handshake is over: call 'await aio.ws.accept(protocol=..., "
            "headers=...)' before anything is sent or received"
        )


class BridgeRequired(FlaskAioHTTPError, RuntimeError):
    """Raised when synchronous code waits on the event loop's own stack.

    Args:
        awaitable: What was to be waited for.
    """

    def __init__(self, awaitable: object) -> None:
        super().__init__(awaitable)
        # What the caller wanted to wait for. A coroutine has been closed.
        self.awaitable = awaitable

    def __str__(self) -> str:
        return (
            f"cannot wait for {self.awaitable!r} here: this code runs directly on the event loop, "
            "which must not stand still. In an 'async def' function write 'await ...' instead of "
            "'await_(...)', in a task of your own start the work with 'aio.create_task(...)'. "
            "Python 3.10 and 3.11 also make a task of what is given to 'asyncio.wait_for()'"
        )


class ClientGone(FlaskAioHTTPError, ConnectionError):
    """Raised when the client has left before its request or the answer was complete.

    Args:
        what: What was being done, for example ``"reading the request body"``.
    """

    def __init__(self, what: str) -> None:
        super().__init__(what)
        # What was being done when the connection ended.
        self.what = what

    def __str__(self) -> str:
        return f"the client closed the connection while the server was {self.what}"


class ConcurrentReceive(FlaskAioHTTPError, RuntimeError):
    """Raised when a task waits for messages of a websocket while another one does."""

    def __str__(self) -> str:
        return (
            "another task waits for messages of this websocket already: let one task receive, and "
            "give the others what they need, for example through an asyncio.Queue"
        )


class InvalidResponse(FlaskAioHTTPError, ValueError):
    """Raised to the application when its answer breaks PEP 3333 or RFC 9110.

    Args:
        problem: The rule that was broken and what was given.
    """

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        # The rule that was broken. Never a header's value: it may be secret.
        self.problem = problem

    def __str__(self) -> str:
        return f"the application's answer cannot be sent: {self.problem}"


class NoWebSocket(FlaskAioHTTPError, RuntimeError):
    """Raised when ``aio.ws`` is used in a request that did not ask for a websocket.

    Args:
        method: The request's method.
        path: The request's path.
    """

    def __init__(self, method: str, path: str) -> None:
        super().__init__(method, path)
        self.method = method
        self.path = path

    def __str__(self) -> str:
        return (
            f"'{self.method} {self.path}' is not a websocket request: use aio.ws only in a view "
            "decorated with @websocket, or ask has_websocket() first"
        )


class WebSocketClosed(FlaskAioHTTPError, RuntimeError):
    """Raised when a view goes on to use the websocket that it has closed itself.

    Args:
        code: With which code it was closed (RFC 6455, section 7.4).
    """

    def __init__(self, code: int | None) -> None:
        super().__init__(code)
        self.code = code

    def __str__(self) -> str:
        return (
            f"this websocket was closed with code {self.code}: nothing can be sent or received any "
            "more. Leave the loop after 'await aio.ws.close()', or ask 'aio.ws.closed' first"
        )


class WebSocketUnsupported(FlaskAioHTTPError, RuntimeError):
    """Raised when a websocket route is called under a server without websockets.

    Args:
        path: The request's path.
        server: What the server calls itself (``SERVER_SOFTWARE``).
    """

    def __init__(self, path: str, server: str) -> None:
        super().__init__(path, server)
        self.path = path
        self.server = server

    def __str__(self) -> str:
        return (
            f"the websocket route '{self.path}' cannot be served by {self.server}: run the "
            "application with 'gunicorn myapp:app -k flask_aiohttp_worker.Worker', or with "
            "'aio.run(app)' while developing"
        )


class WebSocketRejected(FlaskAioHTTPError, ConnectionError):
    """Raised to a test whose request for a websocket was answered with plain HTTP.

    Args:
        path: The path that was asked for.
        response: The answer, Flask's ``TestResponse``.
    """

    def __init__(self, path: str, response: Any) -> None:
        super().__init__(path, response)
        self.path = path
        # As of any other request: status_code, headers, text, json, ...
        self.response = response

    def __str__(self) -> str:
        return (
            f"the websocket {self.path!r} was refused with '{self.response.status}': "
            "the error's 'response' has the answer"
        )


class WebSocketEnded(FlaskAioHTTPError, ConnectionError):
    """Raised to a test that sends to or waits for a websocket which has been closed.

    Args:
        code: The close code (RFC 6455, section 7.4); 1006 where the connection ended without one.
        reason: What the application said besides.
    """

    def __init__(self, code: int, reason: str = "") -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason

    def __str__(self) -> str:
        reason = f" and {self.reason!r}" if self.reason else ""
        return (
            f"the websocket has been closed with code {self.code}{reason}: "
            "use receive() where a test expects the end"
        )


class WebSocketTimeout(FlaskAioHTTPError, TimeoutError):
    """Raised to a test when its websocket does not do in time what was waited for.

    Args:
        path: The websocket's path.
        what: What was waited for, for example ``"a message"``.
        seconds: How long.
    """

    def __init__(self, path: str, what: str, seconds: float) -> None:
        super().__init__(path, what, seconds)
        self.path = path
        self.what = what
        self.seconds = seconds

    def __str__(self) -> str:
        return (
            f"the websocket {self.path!r} was waited for in vain: {self.what}, within "
            f"{self.seconds:g} s; 'timeout=' gives it longer"
        )


class NotInitialized(FlaskAioHTTPError, RuntimeError):
    """Raised when a Flask application is used before ``AioHTTP`` knows it.

    Args:
        app: The application, or None where there was none at all.
    """

    def __init__(self, app: object = None) -> None:
        super().__init__(app)
        self.app = app

    def __str__(self) -> str:
        if self.app is None:
            return "there is no Flask application yet: call 'aio.init_app(app)' first"
        return f"{self.app!r} is not initialized for AioHTTP: call 'aio.init_app(app)' first"


class InvalidRoom(FlaskAioHTTPError, ValueError):
    """Raised when something cannot name a room.

    Args:
        room: What was given.
        problem: What is wrong with it.
    """

    def __init__(self, room: object, problem: str) -> None:
        super().__init__(room, problem)
        self.room = room
        self.problem = problem

    def __str__(self) -> str:
        return f"{self.room!r:.100} cannot name a room: it is {self.problem}"


class RoomMessageTooLarge(FlaskAioHTTPError, ValueError):
    """Raised when a message for a room is too large.

    Args:
        size: Its bytes.
        limit: How many there may be.
    """

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(size, limit)
        self.size = size
        self.limit = limit

    def __str__(self) -> str:
        return (
            f"a message of {self.size} bytes is too large for a room, which passes on "
            f"{self.limit}: send where it can be fetched instead"
        )


class RoomsUnavailable(FlaskAioHTTPError, ConnectionError):
    """Raised when rooms are used in a process that is no worker and cannot reach one.

    Args:
        url: The Redis server that does not answer, without its password; None if none is set.
    """

    def __init__(self, url: str | None = None) -> None:
        super().__init__(url)
        self.url = url

    def __str__(self) -> str:
        if self.url is not None:
            return f"no worker can be reached: {self.url} does not answer"
        return (
            "this process is no worker, and nobody could hear what is sent here: set "
            "AIOHTTP_ROOMS_URL to a Redis server, for the workers too"
        )


class InvalidApplication(FlaskAioHTTPError, TypeError):
    """Raised when the object to be served is no application.

    Args:
        problem: What was found, and what to write instead.
    """

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem

    def __str__(self) -> str:
        return self.problem


class InvalidSetting(FlaskAioHTTPError, ValueError):
    """Raised when a configuration value cannot be used.

    Args:
        name: The setting's name, for example ``"AIOHTTP_THREADS"``.
        value: The value that was given.
        expected: What would be accepted.
    """

    def __init__(self, name: str, value: object, expected: str) -> None:
        super().__init__(name, value, expected)
        self.name = name
        self.value = value
        self.expected = expected

    def __str__(self) -> str:
        return f"{self.name} is {self.value!r}, but must be {self.expected}"
