"""Foretell which view a request will meet: greenlet or thread, before Flask runs.

It is a prediction, read from the application's routes. Where it is wrong (middleware that rewrites
the path, a route added later) the request is only slower, since everything works in both places.

Also here: websocket requests reach routes that were not declared ``websocket=True``, and plain
ones those that were, so that ``@websocket`` may decide what to answer.
"""

from __future__ import annotations

import enum
import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

from flask import Flask, Request
from flask.views import View
from werkzeug.exceptions import HTTPException
from werkzeug.routing import BaseConverter, Map, MapAdapter, Rule, WebsocketMismatch
from werkzeug.wsgi import get_host

from ._environ import Environ

__all__ = ("Place", "Router", "accept_both_schemes", "is_websocket_view", "mark_websocket_view")


class Place(enum.Enum):
    """Where a request runs."""

    LOOP = enum.auto()  # in a greenlet on the event loop
    THREAD = enum.auto()  # in a thread of the pool


# Prefixes that are remembered. Middleware has few; one that takes them from the request could be
# made to bring any number.
_MAX_MOUNTED = 100


class Router:
    """Foretells where the requests of one application run.

    It looks at the routes as they are when it is made.

    Args:
        app: The application; its routes are complete.
    """

    def __init__(self, app: Flask) -> None:
        self._app = app
        self._map = _copy_for_matching(app.url_map)
        self._places: dict[tuple[str, str], Place] = {}

        # What was seen of middleware that serves paths below a prefix by this or another
        # application (SCRIPT_NAME): how to foretell those.
        self._mounted: dict[str, Router] = {}
        by_host = app.url_map.host_matching or app.subdomain_matching

        # Binding to each request costs three times as much as the match itself, and is needed
        # only where the host decides.
        self._adapter = None if by_host else self._map.bind("")

    def place(self, environ: Environ, websocket: bool) -> Place:
        """Return where the request should run.

        A request that no route matches runs in a thread, where hooks and error handlers may block.

        Args:
            websocket: True if the request asks for one.
        """
        path = environ["PATH_INFO"]
        for prefix, router in self._mounted.items():
            if path == prefix or path.startswith(f"{prefix}/"):
                return router._place(environ, path[len(prefix) :], websocket)
        return self._place(environ, path, websocket)

    def learn(self, path: str, app: Flask, environ: Environ) -> None:
        """Take note of where a request has gone that was foretold to run in a thread.

        Without this, websockets behind middleware that strips a prefix would take a thread each.

        Args:
            path: The request's path before any middleware.
            app: The application that it has reached.
            environ: As the application sees it.
        """
        below = environ["PATH_INFO"]
        prefix = path.removesuffix(below) if below else path
        # ProxyFix, for one, takes a SCRIPT_NAME from the request and leaves the path as it is.
        stripped = prefix and prefix + below == path and environ["SCRIPT_NAME"].endswith(prefix)
        if stripped and prefix not in self._mounted and len(self._mounted) < _MAX_MOUNTED:
            self._mounted = {**self._mounted, prefix: Router(app)}

    def _place(self, environ: Environ, path: str, websocket: bool) -> Place:
        try:
            adapter = self._adapter or self._bind(environ)
            endpoint = self._match(adapter, path, environ["REQUEST_METHOD"], websocket)
        except (HTTPException, ValueError, LookupError):
            return Place.THREAD
        key = endpoint, environ["REQUEST_METHOD"]
        place = self._places.get(key)
        if place is None:
            view = self._app.view_functions.get(endpoint)
            place = Place.LOOP if view and is_async(view, key[1]) else Place.THREAD
            self._places[key] = place
        return place

    def _bind(self, environ: Environ) -> MapAdapter:
        if self._map.host_matching:
            return self._map.bind_to_environ(environ)
        # Of a host that is not below SERVER_NAME Werkzeug warns, unless it is told the subdomain.
        # It does when Flask binds; here a warning that is an error would be the request's end.
        host = get_host(environ).partition(":")[0].lower()
        server_name = (self._app.config["SERVER_NAME"] or host).partition(":")[0].lower()
        subdomain = "<invalid>"
        if host.endswith(server_name):
            subdomain = host.removesuffix(server_name).rstrip(".")
        return self._map.bind_to_environ(environ, subdomain=subdomain)

    def _match(self, adapter: MapAdapter, path: str, method: str, websocket: bool) -> str:
        try:
            return str(adapter.match(path, method, websocket=websocket)[0])
        except WebsocketMismatch:
            return str(adapter.match(path, method, websocket=not websocket)[0])


def _copy_for_matching(url_map: Map) -> Map:
    """Return a map of the same routes whose converters convert nothing.

    The application's own may be slow or need a context; Flask calls them in time.
    """
    copy = Map(
        default_subdomain=url_map.default_subdomain,
        strict_slashes=url_map.strict_slashes,
        merge_slashes=url_map.merge_slashes,
        redirect_defaults=False,
        converters={name: _without_conversion(c) for name, c in url_map.converters.items()},
        host_matching=url_map.host_matching,
    )
    for rule in url_map.iter_rules():
        unbound = rule.empty()
        unbound.redirect_to = None
        copy.add(unbound)
    return copy


def _without_conversion(converter: type[BaseConverter]) -> type[BaseConverter]:
    return type(converter.__name__, (converter,), {"to_python": lambda self, value: value})


def is_async(view: Callable[..., Any], method: str) -> bool:
    """Return True if *view* or what it wraps awaits, when it is called for *method*."""
    seen: Any = view
    while seen is not None:
        if inspect.iscoroutinefunction(seen) or inspect.isasyncgenfunction(seen):
            return True
        view_class = getattr(seen, "view_class", None)
        if view_class is not None:
            return _class_is_async(view_class, method)
        seen = _unwrap(seen)
    return False


def _unwrap(view: Any) -> Any:
    """Return what a partial or a decorator wraps, or None."""
    return view.func if isinstance(view, functools.partial) else getattr(view, "__wrapped__", None)


def _class_is_async(view_class: type[View], method: str) -> bool:
    handler = getattr(view_class, method.lower(), None)
    if handler is None and method == "HEAD":
        handler = getattr(view_class, "get", None)
    if handler is not None and is_async(handler, method):
        return True
    return is_async(view_class.dispatch_request, method)


def mark_websocket_view(view: Callable[..., Any]) -> None:
    """Remember that *view* decides itself what to do without a websocket."""
    view.__dict__["_flask_aiohttp_websocket"] = True


def is_websocket_view(view: Callable[..., Any] | None) -> bool:
    """Return True for what ``@websocket`` made, also inside other decorators and in views."""
    seen: Any = view
    while seen is not None:
        if getattr(seen, "__dict__", {}).get("_flask_aiohttp_websocket"):
            return True
        view_class = getattr(seen, "view_class", None)
        if view_class is not None:
            return any(
                is_websocket_view(getattr(view_class, name, None))
                for name in ("dispatch_request", *map(str.lower, view_class.methods or ()))
            )
        seen = _unwrap(seen)
    return False


class _BothSchemes(MapAdapter):
    """Finds a ``@websocket`` view for a plain request too, and whatever its rule says.

    Werkzeug answers 400 (WebsocketMismatch) to a websocket request on a rule without
    ``websocket=True``, and to a plain one on a rule with it.
    """

    def __init__(self, adapter: MapAdapter, views: Mapping[str, Callable[..., Any]]) -> None:
        super().__init__(
            adapter.map,
            adapter.server_name,
            adapter.script_name,
            adapter.subdomain,
            adapter.url_scheme,
            adapter.path_info,
            adapter.default_method,
            adapter.query_args,
        )
        self._views = views

    def match(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().match(*args, **kwargs)
        except WebsocketMismatch:
            websocket = kwargs.get("websocket")
            kwargs["websocket"] = not (self.websocket if websocket is None else websocket)
            matched, values = super().match(*args, **kwargs)
            endpoint = matched.endpoint if isinstance(matched, Rule) else matched
            if not is_websocket_view(self._views.get(endpoint)):
                raise
            return matched, values


def accept_both_schemes(app: Flask) -> None:
    """Let websocket views be found by plain and by websocket requests, whatever their rules say.

    ``Flask.create_url_adapter`` is the documented place to change how routes are matched.
    """
    create_url_adapter = app.create_url_adapter

    @functools.wraps(create_url_adapter)
    def create(request: Request | None) -> MapAdapter | None:
        adapter = create_url_adapter(request)
        if request is None or adapter is None:
            return adapter
        learn = request.environ.get("flask_aiohttp.learn")
        if learn is not None:
            learn(app, request.environ)
        return _BothSchemes(adapter, app.view_functions)

    app.create_url_adapter = create  # type: ignore[method-assign]
