"""Decorators and small functions for views."""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Callable, Collection, Sequence
from typing import Any, NoReturn, TypeVar, cast, overload

from flask import abort, current_app, request

from ._environ import is_websocket_upgrade
from ._handshake import warn_of_lost_session
from ._routing import mark_websocket_view
from ._waiting import await_
from ._websocket import WebSocket
from ._websocket_options import parse_options
from .exceptions import WebSocketUnsupported

__all__ = (
    "async_",
    "cancel_on_disconnect",
    "has_client",
    "has_websocket",
    "websocket",
    "wrap_wsgi_middleware",
)

F = TypeVar("F", bound=Callable[..., Any])


def async_(function: F) -> F:
    """Make a view of an ``async def`` function, or of a generator function with ``yield from``.

    Flask runs ``async def`` views without it; they are returned as they are. Generator functions
    are the coroutines of old; what they ``yield from`` is awaited.

    Raises:
        TypeError: *function* is neither.
    """
    if inspect.iscoroutinefunction(function):
        return function
    if not inspect.isgeneratorfunction(function):
        raise TypeError(
            f"@async_ needs an 'async def' function or a generator function with 'yield from', "
            f"not {function!r}; a plain 'def' view needs no decorator"
        )
    coroutine_function = types.coroutine(function)

    @functools.wraps(function)
    async def view(*args: Any, **kwargs: Any) -> Any:
        return await coroutine_function(*args, **kwargs)

    return cast("F", view)


# A view that returns None is right here, and refused by the type of Flask's ``route()``: so what is
# returned says nothing of what the view returns.
@overload
def websocket(function: Callable[..., Any], /) -> Callable[..., Any]: ...


@overload
def websocket(
    *,
    failure_status_code: int = 400,
    protocols: str | Sequence[str] = ...,
    heartbeat: float | None = ...,
    timeout: float | None = ...,
    message_timeout: float = ...,
    max_msg_size: int = ...,
    compress: bool = ...,
    origins: str | Collection[str] = ...,
    close_timeout: float = ...,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]: ...


def websocket(
    function: Callable[..., Any] | None = None,
    /,
    *,
    failure_status_code: int = 400,
    **options: Any,
) -> Callable[..., Any]:
    """Mark a view as a websocket's.

    The view uses ``aio.ws``; the handshake happens when it first does. What it returns or aborts
    with before that is sent as a plain HTTP answer. It may be ``async def``, a generator function
    with ``yield from``, or ``def``; the last one takes a thread of the pool for as long as the
    socket is open, and waits with ``await_()``.

    What is not given here is what the application's configuration says
    (``AIOHTTP_WEBSOCKET_HEARTBEAT`` and so on), or gunicorn's ``websocket_max_message_size``.

    Args:
        failure_status_code: Status of the answer to a request that asks for no websocket.
        protocols: Subprotocols that the view speaks. The first that the client offers and that is
            among them is chosen: ``aio.ws.ws_protocol``.
        heartbeat: Seconds between two pings; a client that does not answer within half of that
            is dropped. None sends none.
        timeout: Seconds in which a message must come; then ``TimeoutError`` is raised to the view.
            None waits for ever.
        message_timeout: Seconds in which a message that has begun must be whole; then the socket is
            closed with 1008.
        max_msg_size: A message of so many bytes closes the socket with 1009; 0 is no limit.
        compress: True to compress where the client can.
        origins: Origins besides its own whose pages may open the socket; ``"*"`` is every one.
        close_timeout: Seconds that a client has to answer a close.

    Raises:
        InvalidSetting: An option has a value that cannot be used.
        TypeError: There is no such option.
        WebSocketUnsupported: While serving: the server has no websockets.
    """
    wrap = functools.partial(
        _websocket_view,
        failure_status_code=failure_status_code,
        options=parse_options(options),
    )
    return wrap if function is None else wrap(function)


def _websocket_view(
    function: Callable[..., Any], *, failure_status_code: int, options: dict[str, Any]
) -> Callable[..., Any]:
    if inspect.isgeneratorfunction(function):
        function = async_(function)
    view: Callable[..., Any]

    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def async_view(*args: Any, **kwargs: Any) -> Any:
            socket = _socket(failure_status_code, options)
            return await _outcome(socket, await function(*args, **kwargs))

        view = async_view
    else:

        @functools.wraps(function)
        def sync_view(*args: Any, **kwargs: Any) -> Any:
            socket = _socket(failure_status_code, options)
            return await_(_outcome(socket, function(*args, **kwargs)))

        view = sync_view

    mark_websocket_view(view)
    return view


def _socket(failure_status_code: int, options: dict[str, Any]) -> WebSocket:
    if not has_websocket():
        if is_websocket_upgrade(request.environ):
            raise WebSocketUnsupported(
                request.path, request.environ.get("SERVER_SOFTWARE", "this server")
            )
        _refuse(failure_status_code)
    socket = cast("WebSocket", request.environ["wsgi.websocket"])
    socket.configure(options)
    return socket


def _refuse(status_code: int) -> NoReturn:
    """Answer a request that asks for no websocket."""
    try:
        abort(status_code)
    except LookupError:  # Werkzeug has no exception for it, as for 426 Upgrade Required
        abort(current_app.response_class(status=status_code))


async def _outcome(socket: WebSocket, value: Any) -> Any:
    """Return what Flask is given as the answer of a websocket view that returned *value*."""
    if value is None:
        # A view that says nothing has nothing against the socket: it opens, and is closed.
        await socket.accept()
    if socket.prepared:
        warn_of_lost_session(request.endpoint or "")
        return current_app.response_class(status=101)
    return value


def has_websocket() -> bool:
    """Return True if the current request asks for a websocket, and the server can give it one."""
    return request.environ.get("wsgi.websocket") is not None


def has_client() -> bool:
    """Return False once the current request's client has left, or has closed its side.

    For a view that works long: nobody may be waiting any more. True under other servers, which do
    not tell.
    """
    client = request.environ.get("flask_aiohttp.client")
    return client is None or not client.left


def cancel_on_disconnect(view: F) -> F:
    """Cancel *view* when its client leaves before it has answered.

    An async view sees ``asyncio.CancelledError`` where it waits; a sync one where it waits with
    ``await_()``. Without this, and without ``AIOHTTP_CANCEL_ON_DISCONNECT``, a view goes on to its
    end, because what is cut off in the middle may lose data.
    """

    def ask() -> None:
        client = request.environ.get("flask_aiohttp.client")
        if client is not None:
            client.cancel_on_disconnect = True

    if inspect.iscoroutinefunction(view):

        @functools.wraps(view)
        async def async_view(*args: Any, **kwargs: Any) -> Any:
            ask()
            return await view(*args, **kwargs)

        return cast("F", async_view)

    @functools.wraps(view)
    def sync_view(*args: Any, **kwargs: Any) -> Any:
        ask()
        return view(*args, **kwargs)

    return cast("F", sync_view)


def wrap_wsgi_middleware(
    middleware: Callable[..., Any], *args: Any
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return a function that puts plain WSGI *middleware* around an application.

    Kept for applications that write ``app.wsgi_app = wrap_wsgi_middleware(M)(app.wsgi_app)``.
    Plain WSGI middleware works without: ``app.wsgi_app = M(app.wsgi_app)``.

    Args:
        args: Given to *middleware* after the application.
    """

    def wrapper(wsgi: Callable[..., Any]) -> Callable[..., Any]:
        return cast("Callable[..., Any]", middleware(wsgi, *args))

    return wrapper
