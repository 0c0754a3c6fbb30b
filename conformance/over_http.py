"""Requests over a socket: environ, HTTP/1.1, our server, our environ, application.

What HTTP does not carry goes round it, by a token in a header: the application itself, the keys of
the environ that are no part of a request, and what the application raises.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import dataclasses
import itertools
import socket
import sys
import threading
from collections.abc import Callable
from typing import Any, cast
from urllib.parse import quote, unquote_to_bytes

from aiohttp import web
from in_process import InProcess
from way import PATIENCE, Call, Way, running_here

from flask_aiohttp import AioHTTP, WSGIWebSocketHandler
from flask_aiohttp._environ import Environ
from flask_aiohttp._intake import Intake
from flask_aiohttp._routing import Place, Router
from flask_aiohttp._server import Server
from flask_aiohttp._settings import ServerSettings
from flask_aiohttp._start_response import Phase
from flask_aiohttp.util import find_flask_apps

__all__ = ("OverHTTP",)

_FIELD = "X-Conformance-Token"
_VARIABLE = "HTTP_X_CONFORMANCE_TOKEN"

# What the server finds out by itself: all else that is no header goes round.
_BY_HTTP = frozenset(
    (
        *("REQUEST_METHOD", "SCRIPT_NAME", "PATH_INFO", "QUERY_STRING", "SERVER_PROTOCOL"),
        *("REQUEST_URI", "RAW_URI", "CONTENT_TYPE", "CONTENT_LENGTH"),
        *("wsgi.input", "wsgi.input_terminated", "wsgi.multithread", "wsgi.multiprocess"),
    )
)

# What may stand in a request target besides letters and digits (RFC 3986, section 3).
_IN_PATH = "/:@!$&'()*+,;=~"
_IN_QUERY = f"{_IN_PATH}?%|[]{{}}^`"

_calls: dict[str, _HTTPCall] = {}
_tokens = itertools.count()


class OverHTTP(Way):
    """Sends each request to a server of this project, on connections that are kept alive.

    Args:
        place: Where each request runs, whatever its route asks for.
    """

    def __init__(self, place: Place) -> None:
        super().__init__()
        self.place = place
        self._server, self.port = self.wait(_serve())
        self._connections = threading.local()

        # For an environ that no HTTP request leads to: some of Werkzeug's tests have such.
        self._in_process = InProcess(threads=False)

    def start(self, app: Callable[..., Any], environ: dict[str, Any]) -> Call:
        if any(environ.get(key, "")[:1] not in ("", "/") for key in ("SCRIPT_NAME", "PATH_INFO")):
            return self._in_process.start(app, environ)
        self.requests += 1
        call = _HTTPCall(self, app, environ)
        _calls[call.token] = call
        call.send(_request(environ, call.token))
        return call

    def connect(self) -> socket.socket:
        """Return this thread's kept connection, or a new one."""
        connection = self._connections.__dict__.pop("kept", None)
        return connection or socket.create_connection(("127.0.0.1", self.port), PATIENCE)

    def keep(self, connection: socket.socket) -> None:
        """Keep *connection* for this thread's next request."""
        previous = self._connections.__dict__.pop("kept", None)
        if previous is not None:
            previous.close()
        self._connections.kept = connection


class _HTTPCall(Call):
    """One request on its connection."""

    def __init__(self, way: OverHTTP, app: Callable[..., Any], environ: dict[str, Any]) -> None:
        super().__init__(environ["REQUEST_METHOD"])
        self.way = way
        self.app = app
        self.token = str(next(_tokens))
        self.script_name = environ.get("SCRIPT_NAME", "")
        self.beside = {
            key: value
            for key, value in environ.items()
            if key not in _BY_HTTP and not key.startswith("HTTP_")
        }

        # Returns the exchange; set by the handler.
        self.exchange: Any = None

        # Set when the server has ended the request.
        self.done = threading.Event()

        self._connection: socket.socket | None = None

    def application(self, environ: dict[str, Any], start_response: Any) -> Any:
        """Call the application with what went round HTTP."""
        del environ[_VARIABLE]
        environ.update(self.beside)
        return self.app(environ, start_response)

    def fail(self, error: BaseException | None) -> None:
        """Take note of what ended the application, and whether an answer was on its way."""
        self.error = error
        phase = self.exchange().phase
        self.refused = phase is not Phase.STREAMING and phase is not Phase.FINISHED

    def send(self, data: bytes) -> None:
        self._connection = self.way.connect()
        # It may answer, and close, before it has read all.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._connection.sendall(data)

    @property
    def over(self) -> bool:
        return self._connection is None

    def receive(self) -> list[bytes]:
        assert self._connection is not None
        try:
            data = self._connection.recv(1 << 16)
        except ConnectionResetError:
            data = b""
        pieces = self.answer.feed(data)
        if not data:
            self.answer.end()
        if not data or self.answer.complete:
            self._end()
        return pieces

    def leave(self) -> None:
        if self._connection is not None:
            self._end()

    def _end(self) -> None:
        connection, self._connection = self._connection, None
        assert connection is not None
        if self.answer.complete and self.answer.reusable:
            self.way.keep(connection)
        else:
            connection.close()
        if running_here(self.way.loop):
            return  # collected while the loop does something else
        if not self.done.wait(PATIENCE):
            raise TimeoutError("the server does not end the request")
        _calls.pop(self.token, None)
        if not self.answer.complete and self.error is None and not self.answer.begun:
            raise ConnectionError("the server has closed the connection")


class _Log:
    """The logger of one request: keeps what its application has raised."""

    def __init__(self, call: _HTTPCall) -> None:
        self._call = call

    def exception(self, *_: object) -> None:
        self._call.fail(sys.exc_info()[1])

    def info(self, *_: object) -> None:
        pass


class _Intake:
    """Mounts the application where this one request finds it."""

    def __init__(self, intake: Intake, script_name: str) -> None:
        self._intake = intake
        self._script_name = script_name

    def environ(self, request: web.BaseRequest) -> Environ:
        environ = self._intake.environ(request)
        environ["SCRIPT_NAME"] = self._script_name
        return environ


class _Router:
    """Asks the application's routes for the place, and sends each request to the one it is told."""

    def __init__(self, app: Callable[..., Any], place: Place) -> None:
        flask_apps = find_flask_apps(app)
        self._router = Router(flask_apps[0]) if flask_apps else None
        self._place = place

    def place(self, *args: Any) -> Place:
        if self._router is not None:
            self._router.place(*args)
        return self._place

    def learn(self, *args: Any) -> None:
        if self._router is not None:
            self._router.learn(*args)


class _Handler(WSGIWebSocketHandler):
    """Serves each request with the application that its token tells."""

    async def handle_request(self, request: web.BaseRequest) -> web.StreamResponse:
        call = _calls[request.headers[_FIELD]]
        handler = copy.copy(self)
        handler.wsgi = call.application
        handler.settings = dataclasses.replace(self.settings, logger=cast("Any", _Log(call)))
        handler._intake = cast("Any", _Intake(self._intake, call.script_name))
        handler._router = cast("Any", _Router(call.app, call.way.place))
        try:
            task = asyncio.current_task()
            call.exchange = lambda: handler.traffic.in_flight[task]
            return await WSGIWebSocketHandler.handle_request(handler, request)
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # KeyboardInterrupt would end the loop
            call.error, call.refused = error, True
            raise RuntimeError("the application ended the server") from error
        finally:
            call.done.set()


async def _serve() -> tuple[Server, int]:
    application = AioHTTP(handler_factory=_Handler).create_aiohttp_app(_no_application)
    server = Server(application, ServerSettings(keepalive=3600))
    await server.start()
    sock = socket.create_server(("127.0.0.1", 0))
    await server.listen(sock)
    return server, sock.getsockname()[1]


def _no_application(*_: object) -> Any:
    raise AssertionError("each request brings its own")


def _request(environ: dict[str, Any], token: str) -> bytes:
    """Return the bytes of the request that *environ* describes."""
    fields = {"Host": environ.get("HTTP_HOST") or _host(environ), _FIELD: token}
    for key, value in environ.items():
        if key.startswith("HTTP_") and key != "HTTP_HOST":
            fields[key[5:].replace("_", "-").title()] = value
    if environ.get("CONTENT_TYPE"):
        fields["Content-Type"] = environ["CONTENT_TYPE"]

    body = b""
    length = environ.get("CONTENT_LENGTH")
    if environ.get("wsgi.input_terminated") and not length:
        data = _read(environ, -1)
        body = b"%x\r\n%b\r\n" % (len(data), data) if data else b""
        body += b"0\r\n\r\n"
        fields["Transfer-Encoding"] = "chunked"
    elif length:
        fields["Content-Length"] = length
        body = _read(environ, int(length)) if length.isdecimal() else b""

    lines = [f"{environ['REQUEST_METHOD']} {_target(environ)} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in fields.items()]
    return "\r\n".join((*lines, "", "")).encode("latin-1") + body


def _target(environ: dict[str, Any]) -> str:
    path = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
    query = quote(environ.get("QUERY_STRING", "").encode("latin-1"), safe=_IN_QUERY)
    target = environ.get("REQUEST_URI", "")
    raw_path, _, raw_query = target.partition("?")
    if unquote_to_bytes(raw_path).decode("latin-1") == path and raw_query == query:
        return cast("str", target)
    raw_path = quote(path.encode("latin-1"), safe=_IN_PATH) or "/"
    return f"{raw_path}?{query}" if query else raw_path


def _host(environ: dict[str, Any]) -> str:
    name, port = environ.get("SERVER_NAME", "localhost"), environ.get("SERVER_PORT", "80")
    return name if port in ("80", "443") else f"{name}:{port}"


def _read(environ: dict[str, Any], size: int) -> bytes:
    """Read the body, and leave it as it was: a redirect may send it once more."""
    stream = environ["wsgi.input"]
    data = stream.read(size)
    if getattr(stream, "seekable", lambda: False)():
        stream.seek(-len(data), 1)
    return cast("bytes", data)
