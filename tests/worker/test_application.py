"""The worker serves whatever gunicorn loads, or says what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from gunicorn.util import make_fail_app
from harness import Gunicorn
from werkzeug.middleware.dispatcher import DispatcherMiddleware

from flask_aiohttp import InvalidApplication
from flask_aiohttp_worker._application import check_application


@pytest.mark.parametrize(
    "name, sync_place, async_place",
    [
        ("uninitialized", "flask thread", "flask loop"),
        ("initialized", "flask thread", "flask loop"),
        ("create_app()", "flask thread", "flask loop"),
        ("aiohttp_of_flask", "flask thread", "flask loop"),
        ("wrapped_inside", "flask thread", "flask loop"),
        ("wrapped_outside", "flask thread", "flask loop"),
        ("wsgi", "wsgi thread", "wsgi thread"),
        ("native", "aiohttp loop", "aiohttp loop"),
        ("create_aiohttp_app", "aiohttp loop", "aiohttp loop"),
    ],
)
def test_an_application_of_each_kind_is_served(
    gunicorn: Callable[..., Gunicorn], name: str, sync_place: str, async_place: str
) -> None:
    """The worker serves Flask, WSGI and aiohttp, with each view in its place."""
    server = gunicorn(f"worker_loading:{name}")

    assert (sync_place, async_place) == (server.get("/sync"), server.get("/async"))


def test_a_factory_is_called_with_the_arguments_of_the_command_line(
    gunicorn: Callable[..., Gunicorn],
) -> None:
    """What stands between the parentheses reaches the factory."""
    server = gunicorn("worker_loading:create_app('production')")

    assert "production" == server.get("/name")


def test_middleware_around_flask_sees_async_views(gunicorn: Callable[..., Gunicorn]) -> None:
    """Middleware around the application stays around it, though it is looked through."""
    server = gunicorn("worker_loading:wrapped_outside")

    _, headers, _ = server.request("/async")

    assert "seen" == headers["x-middleware"]


def test_the_worker_is_found_by_its_entry_point(gunicorn: Callable[..., Gunicorn]) -> None:
    """The distribution's entry point names the worker, so "-k egg:..." finds it."""
    server = gunicorn("worker_loading:initialized", worker="egg:flask-aiohttp-worker#worker")

    assert "flask loop" == server.get("/async")


@pytest.mark.parametrize(
    "uri, sentence",
    [
        (
            "worker_loading:not_callable",
            "'worker_loading:not_callable': Application object must be callable. Name a Flask",
        ),
        (
            "worker_loading:missing",
            "Failed to find attribute 'missing' in 'worker_loading'. Name a Flask application",
        ),
        (
            "worker_loading:create_app",
            "if it makes one, call it, as in 'worker_loading:create_app()'",
        ),
        ("worker_loading:asgi", "use '-k asgi' for ASGI"),
        ("worker_loading:asgi_object", "use '-k asgi' for ASGI"),
    ],
)
def test_what_is_no_application_ends_gunicorn_with_a_sentence(
    gunicorn: Callable[..., Gunicorn], uri: str, sentence: str
) -> None:
    """A name that leads to no application ends gunicorn at once, and the log says what to do."""
    server = gunicorn(uri)

    code = server.wait()

    assert 4 == code
    assert sentence in server.log
    assert "Traceback" not in server.log
    assert 1 == server.log.count("Booting worker")


def test_an_aiohttp_factory_that_makes_nothing_ends_gunicorn(
    gunicorn: Callable[..., Gunicorn],
) -> None:
    """An async factory is called on the loop; a wrong result of it stops the server too."""
    server = gunicorn("worker_loading:create_nothing")

    code = server.wait()

    assert 3 == code
    assert "the application factory returned None" in server.log
    assert 1 == server.log.count("Booting worker")


@pytest.mark.parametrize(
    "loaded",
    [
        Flask(__name__),
        DispatcherMiddleware(Flask(__name__)),
        make_fail_app("gunicorn's own page for a SyntaxError"),
        max,  # in C, without a signature
        lambda *args: [],
        lambda environ, start_response, extra=None: [],
    ],
)
def test_a_callable_that_takes_two_arguments_is_accepted(loaded: Any) -> None:
    """The check looks at what can be called how, not at types."""
    check_application(loaded, "mod:app")


@pytest.mark.parametrize("loaded", [None, "text", [], lambda: None, lambda a, b, c, d: None])
def test_anything_else_is_refused(loaded: Any) -> None:
    """The check refuses what could not answer the first request."""
    with pytest.raises(InvalidApplication, match="'mod:app'"):
        check_application(loaded, "mod:app")
