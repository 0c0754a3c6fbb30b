"""One request, from aiohttp to WSGI and back.

The handler builds the environ, chooses the place (greenlet or thread), lets the exchange run there
whole, and sees to every way in which that can end.
"""

from __future__ import annotations

import abc
import asyncio
import functools
import io
from time import perf_counter
from typing import cast

from aiohttp import web

from . import _bridge
from ._body_input import BodyInput, receive
from ._client import Client
from ._disconnected import SlowClient
from ._environ import Environ, is_reusable, is_websocket_upgrade, mount
from ._exchange import Exchange, WSGIApplication
from ._intake import Intake, server_options
from ._policy import RequestRefused
from ._protocol import linger_after, refuse, watch
from ._refusal import log_refusal
from ._routing import Place, Router
from ._settings import ServerSettings
from ._threads import ThreadPool
from ._traffic import Traffic
from ._waiting import is_being_cancelled
from ._websocket import WebSocket
from ._websocket_exchange import WebSocketExchange
from ._websocket_options import default_options
from ._writer import Connection
from .exceptions import ClientGone
from .util import find_flask_apps

__all__ = ("WSGIHandlerBase", "WSGIWebSocketHandler")

# A body of at most this many bytes is given to the application whole: a thread need not ask the
# loop for it.
_SMALL_BODY = 1 << 16


class WSGIHandlerBase(abc.ABC):
    """A handler for aiohttp's router that serves a WSGI application.

    Args:
        wsgi: Any WSGI callable.
    """

    def __init__(self, wsgi: WSGIApplication) -> None:
        self.wsgi = wsgi

        # May be replaced until start().
        self.settings = ServerSettings()

        self.traffic = Traffic()

        # The threads for sync views, while there are any.
        self.pool: ThreadPool | None = None

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        """Serve one request."""
        return await self.handle_request(request)

    @abc.abstractmethod
    async def handle_request(self, request: web.BaseRequest) -> web.StreamResponse:
        """Serve one request."""

    async def start(self) -> None:
        """Get ready, on the loop that will serve. Idempotent."""

    async def stop(self) -> None:
        """Give back what :meth:`start` took. Idempotent."""


class WSGIWebSocketHandler(WSGIHandlerBase):
    """Serves a WSGI application: async views on the loop, all others in threads, websockets.

    Args:
        wsgi: Any WSGI callable. Where it leads to a Flask application, that one's routes tell
            which requests run on the loop; otherwise all run in threads.
    """

    def __init__(self, wsgi: WSGIApplication) -> None:
        super().__init__(wsgi)

        # Made by start().
        self._router: Router | None = None
        self._intake = Intake(self.settings)
        self._websocket_options = default_options(self.settings)

    async def start(self) -> None:
        """Start the thread pool and read the routes, on the loop that will serve."""
        if self.pool is not None:
            return
        self.pool = ThreadPool(self.settings.threads)
        self._router = self._make_router()
        self._intake = Intake(self.settings)
        self._websocket_options = default_options(self.settings)

    def _make_router(self) -> Router | None:
        flask_apps = find_flask_apps(self.wsgi)
        if not flask_apps:
            return None
        try:
            return Router(flask_apps[0])
        except Exception:  # rules and converters may be classes of the application's own
            self.settings.logger.exception(
                "The routes of %r cannot be read beforehand: all its views run in threads",
                flask_apps[0],
            )
            return None

    async def stop(self) -> None:
        """Let the threads end, and do not wait for those that are busy."""
        if self.pool is not None:
            self.pool.stop()
            self.pool = None

    async def handle_request(self, request: web.BaseRequest) -> web.StreamResponse:
        """Serve one request, to the end of its answer or of its websocket."""
        if self.pool is None:
            await self.start()
        started = perf_counter()
        try:
            environ = self._intake.environ(request)
        except RequestRefused as refused:
            return refuse(request, refused)
        exchange = self._exchange(request, environ)
        self.traffic.begin(exchange)
        watch(request, exchange)
        try:
            await self._serve(request, exchange)
            response = exchange.response()
            return response if is_reusable(environ) else linger_after(response, request)
        finally:
            watch(request, None)
            exchange.release()
            self.traffic.end()
            self.settings.access_log.write(exchange, request, perf_counter() - started)

    def _exchange(self, request: web.BaseRequest, environ: Environ) -> Exchange:
        settings = self.settings
        reusable = request.keep_alive and settings.keepalive > 0 and is_reusable(environ)
        application, kind = self.wsgi, Exchange
        if environ["RAW_URI"] == "*":
            application, environ["SCRIPT_NAME"] = server_options, ""
        connection = Connection(request, settings.send_timeout, settings.sendfile)
        if is_websocket_upgrade(environ):
            kind = WebSocketExchange
            environ["wsgi.websocket"] = WebSocket(
                request,
                environ,
                connection,
                options=self._websocket_options,
                traffic=self.traffic,
                server=settings.server,
            )
        return kind(
            application,
            environ,
            connection,
            Client(
                asyncio.current_task(),
                self.traffic,
                settings.cancel_on_disconnect,
                settings.disconnect_grace,
            ),
            version=request.version,
            server=settings.server,
            reusable=reusable,
        )

    async def _serve(self, request: web.BaseRequest, exchange: Exchange) -> None:
        logger, target = self.settings.logger, exchange.environ["RAW_URI"]
        try:
            await self._run(request, exchange)
            if exchange.connection.gone and not exchange.connection.request_is_whole:
                # Flask takes it for a bad request, and says nothing in the log.
                raise ClientGone("reading the request body")
        except SlowClient as error:
            logger.info("%s %s: %s", request.method, target, error)
            exchange.fail("408 Request Timeout")
        except ClientGone as error:
            logger.info("%s %s: %s", request.method, target, error)
            exchange.cut()
        except asyncio.CancelledError as error:
            if is_being_cancelled():
                if exchange.client.left:
                    gone = ClientGone("sending the answer")
                    logger.info("%s %s: %s", request.method, target, gone)
                exchange.cut()
                raise
            # Something that the application awaited was cancelled, not this request.
            logger.error("Error handling request %s %s", request.method, target, exc_info=error)
            exchange.fail("500 Internal Server Error")
        except RequestRefused as error:
            log_refusal(request.protocol, str(error))
            exchange.fail(error.status)
        except Exception:
            logger.exception("Error handling request %s %s", request.method, target)
            exchange.fail("500 Internal Server Error")
        try:
            await exchange.end()
        except ClientGone as error:
            logger.info("%s %s: %s", request.method, target, error)

    async def _run(self, request: web.BaseRequest, exchange: Exchange) -> None:
        environ, hooks = exchange.environ, self.settings.hooks
        run = exchange.run if hooks is None else functools.partial(hooks.run, exchange, request)
        if environ["SCRIPT_NAME"]:
            mount(environ)
        if self._router is not None and (
            self._router.place(environ, "wsgi.websocket" in environ) is Place.LOOP
        ):
            environ["wsgi.input"] = _body(request, exchange, self.settings.body_timeout)
            await _bridge.run(run)
        else:
            if self._router is not None:
                environ["flask_aiohttp.learn"] = functools.partial(
                    self._router.learn, environ["PATH_INFO"]
                )
            timeout = self.settings.body_timeout
            environ["wsgi.input"] = await _body_for_thread(request, exchange, timeout)
            pool = cast("ThreadPool", self.pool)
            exchange.enter_thread(pool)
            await pool.run(run)


def _body(request: web.BaseRequest, exchange: Exchange, timeout: float) -> io.BufferedIOBase:
    """Return the request's body as a file; from memory, if it is small and has arrived."""
    content = request.content
    if content.is_eof() and content.total_bytes <= _SMALL_BODY and content.exception() is None:
        return io.BytesIO(content.read_nowait())
    # Other expectations are refused; in HTTP/1.0 there is none (RFC 9110, section 10.1.1).
    expects = "HTTP_EXPECT" in exchange.environ and request.version >= (1, 1)
    return BodyInput(content, timeout, exchange.send_continue if expects else None)


async def _body_for_thread(
    request: web.BaseRequest, exchange: Exchange, timeout: float
) -> io.BufferedIOBase:
    """Return the same, after waiting for a small body: a slow client then holds no thread."""
    length = exchange.environ.get("CONTENT_LENGTH", "")
    small = length.isdigit() and int(length) <= _SMALL_BODY
    if small and not request.content.is_eof() and "HTTP_EXPECT" not in exchange.environ:
        return io.BytesIO(await receive(request.content, -1, timeout))
    return _body(request, exchange, timeout)
