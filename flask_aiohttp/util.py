"""Small questions about requests and applications."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from aiohttp import web
from flask import Flask

__all__ = ("find_flask_apps", "is_websocket_request")

# Under these names middleware commonly keeps the application that it wraps: Werkzeug's and most
# others' "app", "wsgi_app", "application"; "__self__" of a bound method; "__wrapped__" of a
# decorator.
_INNER = ("app", "wsgi_app", "application", "_app", "__self__", "__wrapped__")
_MAX_DEPTH = 32


def is_websocket_request(request: web.BaseRequest) -> bool:
    """Return True if an aiohttp request asks for a websocket (RFC 6455, section 4.1)."""
    options = request.headers.get("Connection", "").lower().split(",")
    return request.headers.get("Upgrade", "").strip().lower() == "websocket" and "upgrade" in [
        option.strip() for option in options
    ]


def find_flask_apps(application: Callable[..., Any]) -> list[Flask]:
    """Return the Flask applications below WSGI middleware, the main one first.

    Follows the attributes in which middleware commonly keeps what it wraps, and the ``mounts`` of
    Werkzeug's ``DispatcherMiddleware``.
    """
    return list(dict.fromkeys(_walk(application, _MAX_DEPTH)))


def _walk(application: Any, depth: int) -> Iterator[Flask]:
    if isinstance(application, Flask):
        yield application
        return
    if application is None or depth == 0:
        return
    for name in _INNER:
        inner = getattr(application, name, None)
        if callable(inner) and inner is not application:
            yield from _walk(inner, depth - 1)
    mounts = getattr(application, "mounts", None)
    if isinstance(mounts, Mapping):
        for inner in mounts.values():
            yield from _walk(inner, depth - 1)
