"""``AioHTTP``: the Flask extension."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import TYPE_CHECKING, Any, TypeVar, cast

from aiohttp import web
from flask import Flask, current_app, has_request_context, request
from flask.ctx import AppContext

from ._fallback import Fallback
from ._held_body import accept_async_bodies
from ._lifespan import Hook, Kind
from ._routing import accept_both_schemes
from ._service import SERVICE, Service
from ._state import AppState, state_of
from ._waiting import await_
from ._websocket import WebSocket
from .exceptions import NotInitialized, NoWebSocket
from .handler import WSGIHandlerBase, WSGIWebSocketHandler
from .rooms import Rooms
from .util import find_flask_apps

if TYPE_CHECKING:
    from aiohttp.test_utils import TestClient

__all__ = ("AioHTTP",)

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])
LifespanFunction = TypeVar("LifespanFunction", bound=Callable[[], AsyncIterator[None]])


class AioHTTP:
    """Runs Flask applications on aiohttp.

    One object may serve several applications, and an application may know several objects.

    Args:
        app: The application, or None for :meth:`init_app` later.
        handler_factory: Makes the aiohttp handler of a WSGI application.
    """

    def __init__(
        self,
        app: Flask | None = None,
        *,
        handler_factory: Callable[..., WSGIHandlerBase] = WSGIWebSocketHandler,
    ) -> None:
        self.handler_factory = handler_factory

        # Messages for many at once.
        self.rooms = Rooms(self._current_app)

        # What on_startup(), on_shutdown() and lifespan() were given.
        self._hooks: list[Hook] = []

        # The application to use where there is no context to tell.
        self._app: Flask | None = None

        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Let *app* run on aiohttp. Called again for the same application it does nothing.

        Sets ``app.aiohttp_app``, and ``Flask.async_to_sync`` on this instance, the documented way
        to say how async views, hooks and handlers are run.
        """
        self._app = app
        state = app.extensions.get("aiohttp")
        if state is None:
            state = app.extensions["aiohttp"] = AppState(app)
            app.async_to_sync = _async_to_sync  # type: ignore[method-assign, assignment]
            accept_both_schemes(app)
            accept_async_bodies(app)
            app.test_client = _with_websockets(app)  # type: ignore[method-assign]
            app.aiohttp_app = self.create_aiohttp_app(app)  # type: ignore[attr-defined]
        if not any(hooks is self._hooks for hooks in state.hook_lists):
            state.hook_lists.append(self._hooks)

    def create_aiohttp_app(self, app: Callable[..., Any]) -> web.Application:
        """Return a new aiohttp application that serves *app* wherever nothing else is routed.

        Routes and sub-applications may be added to it. It can be run once, by this project's
        worker, by aiohttp's own, or by ``aiohttp.web.run_app()``.

        Args:
            app: A Flask application, or any WSGI callable. Flask applications below WSGI
                middleware are initialized if they were not.
        """
        flask_apps = find_flask_apps(app)
        for flask_app in flask_apps:
            if "aiohttp" not in flask_app.extensions:
                self.init_app(flask_app)
        aiohttp_app = web.Application()
        service = Service(self.handler_factory(app), flask_apps)
        aiohttp_app[SERVICE] = service
        aiohttp_app.router.register_resource(Fallback(aiohttp_app.router, service.handler))
        aiohttp_app.on_startup.append(service.start)
        aiohttp_app.on_shutdown.append(service.say_goodbye)
        # The first to stop, as it was the last to start after aiohttp's own ``cleanup_ctx``.
        aiohttp_app.on_cleanup.insert(0, service.stop)
        return aiohttp_app

    def run(
        self,
        app: Flask | None = None,
        *,
        host: str = "127.0.0.1",
        port: int | None = None,
        debug: bool = False,
    ) -> None:
        """Serve *app* until Ctrl-C, for local work.

        Args:
            app: The application; by default the one that was initialized last.
            host: Name or address to listen on.
            port: By default that of ``SERVER_NAME``, or 5000.
            debug: Reload when the code changes, and show Werkzeug's debugger in the browser.

        Raises:
            NotInitialized: There is no application, or it is unknown to this extension.
        """
        from . import _devserver

        app = app or self._app
        if app is None:
            raise NotInitialized
        state_of(app)
        _devserver.run(app, host=host, port=port, debug=debug)

    @contextlib.asynccontextmanager
    async def test_client(
        self, app: Flask | None = None, **kwargs: Any
    ) -> AsyncIterator[TestClient[Any, Any]]:
        """Serve *app* for the length of a block, and give aiohttp's client for tests.

        For ``async def`` tests: ``async with aio.test_client() as client: ...``. The hooks of
        start and stop run as in a worker.

        Args:
            app: By default the application that was initialized last.
            kwargs: For ``aiohttp.test_utils.TestClient``, and so for ``ClientSession``.

        Raises:
            NotInitialized: There is no application, or it is unknown to this extension.
        """
        from aiohttp.test_utils import TestClient  # needed in tests alone

        from .testing import TestServer

        app = app or self._app
        if app is None:
            raise NotInitialized
        state_of(app)
        client: TestClient[Any, Any] = TestClient(
            TestServer(self.create_aiohttp_app(app)), **kwargs
        )
        try:
            await client.start_server()
            yield client
        finally:
            await client.close()

    @property
    def ws(self) -> WebSocket:
        """The current request's websocket, an ``aiohttp.web.WebSocketResponse``.

        Raises:
            NoWebSocket: The request did not ask for one, or there is no request.
        """
        if not has_request_context():
            raise NoWebSocket("no", "request")
        socket = request.environ.get("wsgi.websocket")
        if socket is None:
            raise NoWebSocket(request.method, request.path)
        return cast("WebSocket", socket)

    def message_context(self) -> AppContext:
        """Return a new application context, for one message of a websocket: ``with ...:``.

        What extensions hang on the context is the message's own, and given back after it: a
        database session, ``g``, the user of Flask-Login, who is loaded anew. A websocket without it
        keeps what it has taken for as long as it is open. ``request``, ``session`` and :attr:`ws`
        stay those of the request.

        Raises:
            NotInitialized: There is no application to tell.
        """
        return self._current_app().app_context()

    def on_startup(self, function: F) -> F:
        """Call *function* in each worker before it serves: ``def`` or ``async def``, no arguments.

        If it fails the server stops.
        """
        self._hooks.append(Hook(Kind.STARTUP, function))
        return function

    def on_shutdown(self, function: F) -> F:
        """Call *function* in each worker after its last request: ``def`` or ``async def``."""
        self._hooks.append(Hook(Kind.SHUTDOWN, function))
        return function

    def lifespan(self, function: LifespanFunction) -> LifespanFunction:
        """Run an async generator in each worker: to its ``yield`` at the start, on at the stop.

        Raises:
            TypeError: *function* is no async generator function.
        """
        self._hooks.append(Hook(Kind.LIFESPAN, function))
        return function

    def create_task(
        self,
        coroutine: Coroutine[Any, Any, T],
        *,
        name: str | None = None,
        request_context: bool = False,
    ) -> asyncio.Task[T]:
        """Run *coroutine* beside the request and beyond its end, with an application context.

        A failure is logged. At a stop the worker waits for it, and cancels it at its deadline.

        Args:
            name: For logs; by default the coroutine's own.
            request_context: True to give it a copy of the request's context too, as
                ``flask.copy_current_request_context()`` does. What is set in ``session`` after the
                answer is lost, the body and uploaded files are closed by then, and
                ``teardown_request`` functions run once more, at the task's end.

        Raises:
            NotInitialized: There is no application to tell.
            RuntimeError: *request_context* was asked for outside of a request.
            TypeError: *coroutine* is none.
        """
        tasks = state_of(self._current_app()).tasks
        return tasks.create(coroutine, name, request_context=request_context)

    @property
    def tasks(self) -> Iterator[asyncio.Task[Any]]:
        """The tasks of :meth:`create_task` that have not ended."""
        return iter(state_of(self._current_app()).tasks)

    def _current_app(self) -> Flask:
        if current_app:
            return cast("Any", current_app)._get_current_object()  # type: ignore[no-any-return]
        if self._app is None:
            raise NotInitialized
        return self._app


def _with_websockets(app: Flask) -> Callable[..., Any]:
    """Return an ``app.test_client`` whose clients open websockets too."""
    test_client = app.test_client

    @functools.wraps(test_client)
    def with_websockets(*args: Any, **kwargs: Any) -> Any:
        from .testing import client_class  # needed in tests alone

        # Now, since tests commonly set a class of their own after the application is made.
        app.test_client_class = client_class(app.test_client_class)
        return test_client(*args, **kwargs)

    return with_websockets


def _async_to_sync(function: Callable[..., Coroutine[Any, Any, Any]]) -> Callable[..., Any]:
    """Return a synchronous function that waits for *function* (``Flask.async_to_sync``)."""
    # Flask asks for it at each call of each view and hook: a partial is made in 0.1 us.
    return functools.partial(_call_and_wait, function)


def _call_and_wait(
    function: Callable[..., Coroutine[Any, Any, Any]], *args: Any, **kwargs: Any
) -> Any:
    return await_(function(*args, **kwargs))
