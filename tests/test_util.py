"""Small questions about requests and applications get the right answers."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest
from aiohttp.test_utils import make_mocked_request
from flask import Flask
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.middleware.proxy_fix import ProxyFix

from flask_aiohttp.util import find_flask_apps, is_websocket_request

FLASK = Flask("main")
OTHER = Flask("other")


class Middleware:
    """Keeps the application that it wraps under a name."""

    def __init__(self, name: str, application: Any) -> None:
        setattr(self, name, application)

    def __call__(self, environ: Any, start_response: Any) -> Any:
        raise NotImplementedError


def plain(environ: Any, start_response: Any) -> Any:
    raise NotImplementedError


@functools.wraps(FLASK.wsgi_app)
def decorated(environ: Any, start_response: Any) -> Any:
    raise NotImplementedError


def chain(length: int) -> Any:
    """Return an application below *length* layers of middleware."""
    application: Any = FLASK
    for _ in range(length):
        application = Middleware("app", application)
    return application


def circle() -> Middleware:
    """Return middleware of which each layer leads to each other one by two names."""
    layers = [Middleware("app", None) for _ in range(40)]
    for number, layer in enumerate(layers):
        layer.app, layer.application = layers[number - 1], layers[number - 2]
    layers[0]._app = layers[0]
    return layers[-1]


class Bottomless:
    """Makes new middleware whenever it is asked what it wraps."""

    def __call__(self, environ: Any, start_response: Any) -> Any:
        raise NotImplementedError

    @property
    def app(self) -> Bottomless:
        return Bottomless()


@pytest.mark.parametrize(
    "application, expected",
    [
        (FLASK, [FLASK]),
        (FLASK.wsgi_app, [FLASK]),
        (ProxyFix(FLASK), [FLASK]),
        (ProxyFix(FLASK.wsgi_app), [FLASK]),
        (Middleware("app", FLASK), [FLASK]),
        (Middleware("wsgi_app", FLASK), [FLASK]),
        (Middleware("application", FLASK), [FLASK]),
        (Middleware("wsgi", FLASK), [FLASK]),
        (Middleware("_app", FLASK), [FLASK]),
        (Middleware("_wsgi_app", FLASK), [FLASK]),
        (Middleware("app", Middleware("application", FLASK)), [FLASK]),
        (decorated, [FLASK]),
        (DispatcherMiddleware(FLASK, {"/a": OTHER, "/b": FLASK}), [FLASK, OTHER]),
        (DispatcherMiddleware(plain, {"/a": ProxyFix(OTHER)}), [OTHER]),
        (ProxyFix(DispatcherMiddleware(OTHER, {"/a": FLASK})), [OTHER, FLASK]),
        (plain, []),
        (Middleware("app", None), []),
        (Middleware("app", "a name, not an application"), []),
        (Middleware("inner", FLASK), []),
        (chain(20), [FLASK]),
        (circle(), []),
        (Bottomless(), []),
    ],
)
def test_flask_applications_are_found_below_middleware(
    application: Callable[..., Any], expected: list[Flask]
) -> None:
    """Middleware is looked through where it keeps what it wraps as is usual, and never for ever."""
    assert expected == find_flask_apps(application)


@pytest.mark.parametrize(
    "connection, upgrade, expected",
    [
        ("Upgrade", "websocket", True),
        ("keep-alive, Upgrade", "WebSocket", True),
        ("upgrade", " websocket ", True),
        ("keep-alive", "websocket", False),
        ("Upgrade", "h2c", False),
        ("upgraded", "websocket", False),
        ("", "", False),
    ],
)
def test_websocket_request_is_known_by_two_fields(
    connection: str, upgrade: str, expected: bool
) -> None:
    """Both Connection and Upgrade must ask for the websocket (RFC 6455, section 4.1)."""
    headers = {"Connection": connection, "Upgrade": upgrade}

    assert expected is is_websocket_request(make_mocked_request("GET", "/", headers=headers))


def test_request_without_the_fields_is_no_websocket_request() -> None:
    """A plain request is none."""
    assert is_websocket_request(make_mocked_request("GET", "/")) is False


def test_application_below_a_closure_is_found() -> None:
    """Middleware is often a function in a function; what it closes over is looked at."""
    app = Flask("closed")

    def middleware(inner: Any, *, header: str) -> Any:
        def wrapped(environ: Any, start_response: Any) -> Any:
            environ[header] = "x"
            return inner(environ, start_response)

        return wrapped

    wrapped_twice = middleware(middleware(app.wsgi_app, header="a"), header="b")

    assert [app] == find_flask_apps(wrapped_twice)
