"""Small questions about requests and applications."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from aiohttp import web
from flask import Flask

__all__ = ("find_flask_apps", "is_websocket_request")

# Under these names middleware commonly keeps the application that it wraps: Werkzeug's and most
# others' "app", "wsgi_app", "application"; "__self__" of a bound method; "__wrapped__" of a
# decorator.
_INNER = (
    *("app", "wsgi_app", "application", "wsgi", "_app", "_wsgi_app", "_application", "_wsgi"),
    *("__self__", "__wrapped__"),
)

# At most so many objects are looked at: some make a new one whenever they are asked.
_MAX_OBJECTS = 100


def is_websocket_request(request: web.BaseRequest) -> bool:
    """Return True if an aiohttp request asks for a websocket (RFC 6455, section 4.1)."""
    options = request.headers.get("Connection", "").lower().split(",")
    return request.headers.get("Upgrade", "").strip().lower() == "websocket" and "upgrade" in [
        option.strip() for option in options
    ]


def find_flask_apps(application: Callable[..., Any]) -> list[Flask]:
    """Return the Flask applications below WSGI middleware, the main one first.

    Follows the attributes in which middleware commonly keeps what it wraps, the variables that a
    function refers to from around it, and the ``mounts`` of Werkzeug's ``DispatcherMiddleware``.
    """
    return list(dict.fromkeys(_walk(application, {})))


def _walk(application: Any, seen: dict[int, Any]) -> Iterator[Flask]:
    if isinstance(application, Flask):
        yield application
        return
    if id(application) in seen or len(seen) == _MAX_OBJECTS:
        return
    seen[id(application)] = application
    for name in _INNER:
        inner = getattr(application, name, None)
        if callable(inner):
            yield from _walk(inner, seen)
    if isinstance(application, types.FunctionType):
        # def middleware(app): def wrapped(environ, start_response): return app(...)
        for inner in inspect.getclosurevars(application).nonlocals.values():
            if callable(inner):
                yield from _walk(inner, seen)
    mounts = getattr(application, "mounts", None)
    if isinstance(mounts, Mapping):
        for inner in mounts.values():
            yield from _walk(inner, seen)
