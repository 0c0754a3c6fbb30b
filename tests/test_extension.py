"""``AioHTTP`` makes an application run on aiohttp, however the two are brought together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from aiohttp import web
from flask import Flask, current_app, request
from harness import Served, serve
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.middleware.proxy_fix import ProxyFix

from flask_aiohttp import (
    AioHTTP,
    NotInitialized,
    NoWebSocket,
    WSGIWebSocketHandler,
    await_,
    websocket,
)


def add_view(app: Flask) -> None:
    @app.route("/name")
    async def name() -> str:
        await asyncio.sleep(0)
        return current_app.name


async def text_of(served: Served, path: str, **options: Any) -> str:
    async with served.session.get(path, **options) as response:
        return await response.text()


def test_init_app_again_changes_nothing() -> None:
    """A second ``init_app`` keeps the aiohttp application and calls no hook twice."""
    app = Flask(__name__)
    aio = AioHTTP(app)
    aio.on_startup(print)
    first = app.aiohttp_app, app.async_to_sync, app.create_url_adapter

    aio.init_app(app)

    assert first == (app.aiohttp_app, app.async_to_sync, app.create_url_adapter)
    assert [print] == [hook.function for hook in app.extensions["aiohttp"].hooks()]


def test_init_app_leaves_other_applications_alone() -> None:
    """Only the instance that was given is changed, not the class Flask."""
    AioHTTP(Flask(__name__))
    other = Flask(__name__)

    assert "aiohttp" not in other.extensions
    assert Flask.async_to_sync is type(other).async_to_sync
    assert not hasattr(other, "aiohttp_app")


@pytest.mark.parametrize("init_first", [True, False])
async def test_routes_may_come_before_and_after(init_first: bool) -> None:
    """Views are served whether they were added before or after ``init_app``."""
    app, aio = Flask("first"), AioHTTP()
    if init_first:
        aio.init_app(app)
    add_view(app)
    if not init_first:
        aio.init_app(app)

    async with serve(app) as served:
        assert "first" == await text_of(served, "/name")


async def test_factory_makes_applications_that_do_not_meet() -> None:
    """One extension object serves the applications of a factory, at the same time."""
    aio = AioHTTP()
    started: list[str] = []

    @aio.on_startup
    def start() -> None:
        started.append(current_app.name)

    def create_app(name: str) -> Flask:
        app = Flask(name)
        aio.init_app(app)
        add_view(app)
        return app

    async with serve(create_app("first")) as first, serve(create_app("second")) as second:
        names = await asyncio.gather(text_of(first, "/name"), text_of(second, "/name"))

    assert ["first", "second"] == names == started


async def test_hooks_of_several_extension_objects_all_run() -> None:
    """Each object that knows the application has its hooks run, in the order of ``init_app``."""
    app = Flask(__name__)
    order: list[str] = []
    objects = [AioHTTP(), AioHTTP()]
    for number, aio in enumerate(objects):
        aio.on_startup(lambda number=number: order.append(f"start {number}"))
        aio.on_shutdown(lambda number=number: order.append(f"stop {number}"))
    for aio in reversed(objects):
        aio.init_app(app)

    async with serve(app):
        pass

    assert ["start 1", "start 0", "stop 0", "stop 1"] == order


async def test_task_and_socket_belong_to_any_object_of_the_application() -> None:
    """Two objects on one application give the same websocket and the same tasks."""
    app = Flask(__name__)
    first, second = AioHTTP(app), AioHTTP(app)
    same: list[bool] = []

    @app.route("/")
    @websocket
    async def view() -> None:
        task = first.create_task(asyncio.sleep(0))
        same.extend([first.ws is second.ws, [task] == list(second.tasks)])
        await first.ws.close()

    async with serve(app) as served, served.session.ws_connect("/") as socket:
        await socket.receive()

    assert [True, True] == same


class Shout:
    """WSGI middleware that changes the body."""

    def __init__(self, wsgi: Callable[..., Iterable[bytes]]) -> None:
        self.wsgi = wsgi

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        return [part.upper() for part in self.wsgi(environ, start_response)]


@pytest.mark.parametrize("around", ["wsgi_app", "application"])
async def test_middleware_is_passed_by_async_views(around: str) -> None:
    """Plain WSGI middleware changes what an async view answers, and needs no wrapper."""
    app = Flask("quiet")
    add_view(app)
    served_app: Any = app
    if around == "wsgi_app":
        app.wsgi_app = Shout(app.wsgi_app)
    else:
        served_app = AioHTTP().create_aiohttp_app(Shout(app))

    async with serve(served_app) as served:
        assert "QUIET" == await text_of(served, "/name")


async def test_proxy_fix_tells_who_asked() -> None:
    """Werkzeug's ``ProxyFix`` does for an async view what it does anywhere."""
    app = Flask(__name__)
    app.wsgi_app = ProxyFix(app.wsgi_app, x_for=1, x_proto=1, x_host=1, x_prefix=1)

    @app.route("/")
    async def view() -> list[str | None]:
        return [request.remote_addr, request.url]

    headers = {
        "X-Forwarded-For": "192.0.2.1",
        "X-Forwarded-Proto": "https",
        "X-Forwarded-Host": "example.org",
        "X-Forwarded-Prefix": "/shop",
    }
    async with serve(app) as served, served.session.get("/", headers=headers) as response:
        assert ["192.0.2.1", "https://example.org/shop/"] == await response.json()


async def test_dispatcher_serves_several_applications() -> None:
    """Applications below ``DispatcherMiddleware`` are initialized, started and served."""
    main, api = Flask("main"), Flask("api")
    order: list[str] = []
    for app in (main, api):
        add_view(app)
        aio = AioHTTP(app)
        aio.on_startup(lambda: order.append(f"start {current_app.name}"))
        aio.on_shutdown(lambda: order.append(f"stop {current_app.name}"))

    @api.route("/url")
    async def url() -> str:
        return f"{request.script_root} {request.path}"

    aiohttp_app = AioHTTP().create_aiohttp_app(DispatcherMiddleware(main, {"/api": api}))
    async with serve(aiohttp_app) as served:
        answers = [await text_of(served, path) for path in ("/name", "/api/name", "/api/url")]

    assert ["main", "api", "/api /url"] == answers
    assert ["start main", "start api", "stop api", "stop main"] == order


async def test_plain_wsgi_callable_is_served() -> None:
    """A WSGI callable that knows nothing of Flask is served, and may wait with ``await_``."""

    def application(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        await_(asyncio.sleep(0))
        body = environ["wsgi.input"].read()
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [environ["REQUEST_METHOD"].encode(), b" ", body]

    async with (
        serve(AioHTTP().create_aiohttp_app(application)) as served,
        served.session.post("/", data=b"data") as response,
    ):
        assert b"POST data" == await response.read()


async def test_application_with_its_own_dispatch_is_served() -> None:
    """A subclass of Flask that overrides documented methods is called as Flask would call it."""

    class Application(Flask):
        def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
            ensured.append(func.__name__)
            return super().ensure_sync(func)

        def make_response(self, rv: Any) -> Any:
            return super().make_response(f"made of {rv}")

    ensured: list[str] = []
    app = Application("custom")
    add_view(app)

    async with serve(app) as served:
        assert "made of custom" == await text_of(served, "/name")
    assert ["name"] == ensured


async def test_handler_factory_makes_the_handler() -> None:
    """``handler_factory`` may put a handler of one's own in place of the default one."""

    class Counting(WSGIWebSocketHandler):
        requests = 0

        async def handle_request(self, request: web.BaseRequest) -> web.StreamResponse:
            Counting.requests += 1
            return await super().handle_request(request)

    app = Flask("counted")
    add_view(app)
    AioHTTP(app, handler_factory=Counting)

    async with serve(app) as served:
        assert "counted" == await text_of(served, "/name")
    assert 1 == Counting.requests


async def test_handler_may_be_routed_by_hand() -> None:
    """A handler that nobody has started starts itself at its first request."""
    app = Flask("by hand")
    AioHTTP(app)
    add_view(app)
    handler = WSGIWebSocketHandler(app)
    program = web.Application()
    program.router.add_route("*", "/{path:.*}", handler.handle_request)

    async with serve(program) as served:
        assert "by hand" == await text_of(served, "/name")
    await handler.stop()


def test_socket_outside_of_a_request_is_an_error() -> None:
    """``aio.ws`` without a request says so."""
    aio = AioHTTP(Flask(__name__))

    with pytest.raises(NoWebSocket, match="only in a view decorated with @websocket"):
        aio.ws  # noqa: B018


@pytest.mark.parametrize("path", ["/sync", "/async"])
async def test_socket_of_a_plain_request_is_an_error(path: str) -> None:
    """``aio.ws`` in a request that asks for no websocket names the request and the way out."""
    app = Flask(__name__)
    aio = AioHTTP(app)
    app.add_url_rule("/sync", "sync", lambda: str(aio.ws))

    @app.route("/async")
    async def view() -> str:
        return str(aio.ws)

    @app.errorhandler(NoWebSocket)
    def explain(error: NoWebSocket) -> tuple[str, int]:
        return str(error), 500

    async with serve(app) as served:
        text = await text_of(served, path)

    assert f"'GET {path}' is not a websocket request: use aio.ws only in a view" in text


def test_extension_without_an_application_says_what_to_do() -> None:
    """What needs an application names ``init_app`` where there is none."""
    aio = AioHTTP()
    stranger = Flask("stranger")

    with pytest.raises(NotInitialized, match=r"no Flask application .* call 'aio.init_app\(app\)'"):
        aio.run()
    with pytest.raises(NotInitialized, match="stranger"):
        aio.run(stranger)
    with pytest.raises(NotInitialized):
        list(aio.tasks)
