"""The decorators of 2015 work on today's functions, and say what they do not work on."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from flask import Flask, request
from flask.views import View
from harness import serve

from flask_aiohttp import (
    AioHTTP,
    WebSocketUnsupported,
    async_,
    await_,
    has_websocket,
    websocket,
    wrap_wsgi_middleware,
)

UPGRADE = {"Connection": "Upgrade", "Upgrade": "websocket"}


def test_async_function_is_returned_as_it_is() -> None:
    """``@async_`` adds nothing to ``async def``."""

    async def view() -> None:
        pass

    assert view is async_(view)


async def test_generator_function_becomes_a_coroutine_function() -> None:
    """``@async_`` awaits what a generator function yields from, and hands on its arguments."""

    @async_
    def view(first, *, second):
        """Add."""
        a = yield from asyncio.sleep(0, first)
        b = yield from asyncio.wait_for(asyncio.sleep(0, second), 1)
        c = yield from asyncio.create_task(asyncio.sleep(0, 100))
        return a + b + c

    assert inspect.iscoroutinefunction(view)
    assert ("view", "Add.") == (view.__name__, view.__doc__)
    assert 111 == await view(1, second=10)


async def test_generator_function_raises_through_its_waits() -> None:
    """What is raised below ``yield from`` arrives in the generator, and leaves it."""
    caught: list[BaseException] = []

    async def fail() -> None:
        await asyncio.sleep(0)
        raise LookupError("below")

    @async_
    def view():
        try:
            yield from fail()
        except LookupError as error:
            caught.append(error)
        yield from fail()

    with pytest.raises(LookupError, match="below"):
        await view()
    assert 1 == len(caught)


def _plain() -> str:
    return ""


async def _yielding():
    yield


@pytest.mark.parametrize("function", [_plain, _yielding, object(), View])
def test_anything_else_is_refused(function: Any) -> None:
    """``@async_`` on what it cannot make a view of says so when the module is loaded."""
    with pytest.raises(TypeError, match="needs an 'async def' function or a generator function"):
        async_(function)


@pytest.mark.parametrize("decorate", [websocket, websocket(failure_status_code=404)])
def test_websocket_view_keeps_its_name_and_kind(decorate: Callable[..., Any]) -> None:
    """Both forms of ``@websocket`` keep the view's name, which Flask makes the endpoint of."""

    @decorate
    async def talk() -> None:
        pass

    @decorate
    def old_talk():
        yield from asyncio.sleep(0)

    @decorate
    def sync_talk() -> None:
        pass

    names = [view.__name__ for view in (talk, old_talk, sync_talk)]
    assert ["talk", "old_talk", "sync_talk"] == names
    assert [True, True, False] == list(
        map(inspect.iscoroutinefunction, (talk, old_talk, sync_talk))
    )


def make_app() -> Flask:
    app = Flask(__name__)
    AioHTTP(app)

    @app.route("/default")
    @websocket
    async def default() -> None:
        pass

    @app.route("/sync")
    @websocket(failure_status_code=404)
    def sync_view() -> None:
        pass

    @app.route("/asks", websocket=True)
    @app.route("/asks")
    async def asks() -> str:
        return str(has_websocket())

    @app.route("/upgrade")
    @websocket(failure_status_code=426)
    async def upgrade() -> None:
        pass

    @app.errorhandler(404)
    def missing(error: Exception) -> tuple[str, int]:
        return "handled", 404

    return app


@pytest.mark.parametrize(
    "path, status, text",
    [("/default", 400, "Bad Request"), ("/sync", 404, "handled"), ("/upgrade", 426, "")],
)
async def test_plain_request_gets_the_failure_status(path: str, status: int, text: str) -> None:
    """A request without a websocket gets ``failure_status_code`` through Flask's handlers."""
    async with serve(make_app()) as served, served.session.get(path) as response:
        assert status == response.status
        assert text in await response.text()


@pytest.mark.parametrize("headers, expected", [({}, "False"), (UPGRADE, "True")])
async def test_view_may_ask_for_the_websocket(headers: dict[str, str], expected: str) -> None:
    """``has_websocket()`` tells whether this request asks for one."""
    async with serve(make_app()) as served, served.session.get("/asks", headers=headers) as answer:
        assert expected == await answer.text()


@pytest.mark.parametrize("path", ["/default", "/sync"])
def test_server_without_websockets_is_told(path: str) -> None:
    """A websocket request under another server fails with the route, the server and the way out."""
    app = make_app()
    app.testing = True

    with pytest.raises(WebSocketUnsupported) as caught:
        app.test_client().get(path, headers=UPGRADE)
    assert path == caught.value.path
    assert "run the application with 'gunicorn myapp:app -k flask_aiohttp_worker.Worker'" in str(
        caught.value
    )


def test_websocket_is_absent_under_another_server() -> None:
    """``has_websocket()`` is False where the server cannot give any."""
    response = make_app().test_client().get("/asks", headers=UPGRADE)

    assert "False" == response.text


class Tag:
    """Plain WSGI middleware with arguments of its own."""

    def __init__(self, wsgi: Callable[..., Iterable[bytes]], name: str, value: str) -> None:
        self.wsgi = wsgi
        self.field = (name, value)

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        def start(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
            return start_response(status, [*headers, self.field], *rest)

        return self.wsgi(environ, start)


async def test_wrapped_middleware_is_plain_middleware() -> None:
    """``wrap_wsgi_middleware`` hands the middleware on, with its arguments."""
    app = Flask(__name__)
    app.wsgi_app = wrap_wsgi_middleware(Tag, "X-Tag", "tagged")(app.wsgi_app)

    @app.route("/")
    async def view() -> str:
        await asyncio.sleep(0)
        return request.path

    async with serve(app) as served, served.session.get("/") as response:
        assert "tagged" == response.headers["X-Tag"]
        assert "/" == await response.text()


def test_decorators_work_outside_of_a_request() -> None:
    """What ``@async_`` has made can be awaited anywhere, as in a test of the view alone."""

    @async_
    def view(name):
        yield from asyncio.sleep(0)
        return f"hello {name}"

    assert "hello Ada" == await_(view("Ada"))
