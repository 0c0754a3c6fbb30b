"""The route tells where a request will run, and a websocket view is found by any request."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest
from flask import Flask, current_app
from flask.views import MethodView, View
from harness import serve
from werkzeug.routing import BaseConverter

from flask_aiohttp import AioHTTP, async_, websocket
from flask_aiohttp._routing import Place, Router, is_websocket_view

LOOP, THREAD = Place.LOOP, Place.THREAD


def environ(path: str, method: str = "GET", host: str = "localhost") -> dict[str, Any]:
    return {
        "PATH_INFO": path,
        "REQUEST_METHOD": method,
        "HTTP_HOST": host,
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "80",
        "SCRIPT_NAME": "",
        "QUERY_STRING": "",
        "wsgi.url_scheme": "http",
    }


def here() -> str:
    return "loop" if threading.current_thread() is threading.main_thread() else "thread"


def decorated(view: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(view)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return current_app.ensure_sync(view)(*args, **kwargs)

    return wrapper


def sync_view() -> str:
    return here()


async def async_view() -> str:
    return here()


async def takes_one(value: str) -> str:
    return value


async def yields():
    yield here()


@async_
def generator():
    yield
    return here()


class Callable_:
    def __call__(self) -> str:
        return here()


class AsyncPage(View):
    async def dispatch_request(self) -> str:
        return here()


class SyncPage(View):
    def dispatch_request(self) -> str:
        return here()


class DecoratedPage(AsyncPage):
    decorators = [decorated]


class Mixed(MethodView):
    async def get(self) -> str:
        return here()

    def post(self) -> str:
        return here()


@pytest.mark.parametrize(
    "view, method, place",
    [
        (sync_view, "GET", THREAD),
        (async_view, "GET", LOOP),
        (async_view, "HEAD", LOOP),
        (generator, "GET", LOOP),
        (yields, "GET", LOOP),
        (decorated(async_view), "GET", LOOP),
        (decorated(decorated(async_view)), "GET", LOOP),
        (decorated(sync_view), "GET", THREAD),
        (functools.partial(takes_one, "a"), "GET", LOOP),
        (functools.partial(decorated(takes_one), "a"), "GET", LOOP),
        (functools.partial(sync_view), "GET", THREAD),
        (websocket(async_view), "GET", LOOP),
        (websocket(failure_status_code=404)(async_view), "GET", LOOP),
        (websocket(sync_view), "GET", THREAD),
        (Callable_(), "GET", THREAD),
        (AsyncPage.as_view("page"), "GET", LOOP),
        (SyncPage.as_view("page"), "GET", THREAD),
        (DecoratedPage.as_view("page"), "GET", LOOP),
        (Mixed.as_view("mixed"), "GET", LOOP),
        (Mixed.as_view("mixed"), "HEAD", LOOP),
        (Mixed.as_view("mixed"), "POST", THREAD),
        (async_view, "POST", THREAD),  # 405: error handlers may block
    ],
)
def test_place_follows_from_the_view(view: Callable[..., Any], method: str, place: Place) -> None:
    """A view that awaits runs on the loop, inside decorators and classes too."""
    app = Flask(__name__)
    app.add_url_rule("/", "view", view)

    assert place is Router(app).place(environ("/", method), websocket=False)


def make_app() -> Flask:
    app = Flask(__name__)
    app.add_url_rule("/async/<int:number>", "number", lambda number: "")
    app.view_functions["number"] = takes_one
    app.add_url_rule("/slash/", "slash", async_view)
    app.add_url_rule("/old", "old", async_view, redirect_to="/slash/")
    app.add_url_rule("/built", "built", async_view, build_only=True)
    app.add_url_rule("/socket", "socket", websocket(async_view), websocket=True)
    app.add_url_rule("/default", "default", takes_one, defaults={"value": "a"})
    app.add_url_rule("/default/<value>", "default", takes_one)
    return app


@pytest.mark.parametrize(
    "path, websocket_asked, place",
    [
        ("/async/1", False, LOOP),
        ("/async/one", False, THREAD),
        ("/missing", False, THREAD),
        ("/slash/", False, LOOP),
        ("/slash", False, THREAD),
        ("/built", False, THREAD),
        ("/default", False, LOOP),
        ("/default/a", False, LOOP),
        ("/async/\xff", False, THREAD),
        ("", False, THREAD),
        ("*", False, THREAD),
        ("/socket", True, LOOP),
        ("/socket", False, LOOP),
        ("/slash/", True, LOOP),
    ],
)
def test_place_follows_from_the_path(path: str, websocket_asked: bool, place: Place) -> None:
    """Paths are matched as Flask will match them; those it will refuse go to a thread."""
    assert place is Router(make_app()).place(environ(path), websocket_asked)


@pytest.mark.filterwarnings("ignore:Current server name 'example.net'")  # as Flask warns
@pytest.mark.parametrize(
    "host, place",
    [("api.example.org", LOOP), ("www.example.org", THREAD), ("example.net", THREAD)],
)
@pytest.mark.parametrize("by", ["host", "subdomain"])
def test_place_follows_from_the_host(by: str, host: str, place: Place) -> None:
    """Where the host chooses the view, it chooses the place."""
    if by == "host":
        app = Flask(__name__, host_matching=True, static_host="static.example.org")
        app.add_url_rule("/", "async", async_view, host="api.example.org")
        app.add_url_rule("/", "sync", sync_view, host="www.example.org")
    else:
        app = Flask(__name__, subdomain_matching=True)
        app.config["SERVER_NAME"] = "example.org"
        app.add_url_rule("/", "async", async_view, subdomain="api")
        app.add_url_rule("/", "sync", sync_view, subdomain="www")

    router = Router(app)

    assert place is router.place(environ("/", host=host), websocket=False)


def test_converters_convert_nothing_for_the_prediction() -> None:
    """The prediction calls no ``to_python``: it may block, fail, or need a request."""
    converted: list[str] = []

    class Item(BaseConverter):
        regex = "[a-z]+"

        def to_python(self, value: str) -> str:
            converted.append(value)
            raise RuntimeError("no database here")

    app = Flask(__name__)
    app.url_map.converters["item"] = Item
    app.add_url_rule("/item/<item:value>", "item", takes_one)
    router = Router(app)

    assert LOOP is router.place(environ("/item/pen"), websocket=False)
    assert THREAD is router.place(environ("/item/7"), websocket=False)
    assert [] == converted


def test_prediction_leaves_the_routes_alone() -> None:
    """The application's own rules still belong to its own map, and still convert."""
    app = make_app()
    Router(app).place(environ("/async/1"), websocket=False)

    with app.test_request_context("/async/1") as context:
        assert ("number", {"number": 1}) == (context.request.endpoint, context.request.view_args)


class Rewrite:
    """Middleware that sends each path to another view than the one that was foretold."""

    def __init__(self, wsgi: Callable[..., Any]) -> None:
        self.wsgi = wsgi

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        paths = {"/sync": "/async", "/async": "/sync"}
        environ["PATH_INFO"] = paths[environ["PATH_INFO"]]
        return self.wsgi(environ, start_response)


async def test_wrong_prediction_is_no_wrong_answer() -> None:
    """A view that runs in the other place answers all the same."""
    app = Flask(__name__)
    app.add_url_rule("/sync", "sync", lambda: f"sync view in a {here()}")
    places: list[str] = []

    @app.route("/async")
    async def asynchronous() -> str:
        places.append(here())
        return "async view"

    @app.before_request
    def before() -> None:
        places.append(here())

    app.wsgi_app = Rewrite(app.wsgi_app)
    async with serve(app) as served:
        async with served.session.get("/sync") as response:
            first = await response.text()
        async with served.session.get("/async") as response:
            second = await response.text()

    assert ("async view", "sync view in a loop") == (first, second)
    assert ["thread", "loop", "loop"] == places


async def test_route_added_after_the_start_is_served() -> None:
    """A route that the prediction does not know runs in a thread."""
    app = Flask(__name__)

    async with serve(app) as served:
        app.add_url_rule("/late", "late", sync_view)
        async with served.session.get("/late") as response:
            assert "thread" == await response.text()


@pytest.mark.parametrize("declared", [{}, {"websocket": True}])
@pytest.mark.parametrize("init_first", [True, False])
async def test_websocket_view_is_found_however_it_is_declared(
    init_first: bool, declared: dict[str, Any]
) -> None:
    """A rule with and without ``websocket=True`` serves sockets, and plain requests get 404."""
    app, aio = Flask(__name__), AioHTTP()
    if init_first:
        aio.init_app(app)

    @app.route("/socket/<name>", **declared)
    @websocket(failure_status_code=404)
    async def greet(name: str) -> None:
        await aio.ws.send_str(f"hello {name}")

    if not init_first:
        aio.init_app(app)
    async with serve(app) as served:
        async with served.session.ws_connect("/socket/Ada") as socket:
            greeting = await socket.receive_str()
        async with served.session.get("/socket/Ada") as response:
            plain = response.status

    assert ("hello Ada", 404) == (greeting, plain)


async def test_page_and_websocket_may_share_a_path() -> None:
    """Of two rules for one path the websocket request gets the one with ``websocket=True``."""
    app = Flask(__name__)
    aio = AioHTTP(app)
    app.add_url_rule("/", "page", lambda: "page")

    @app.route("/", websocket=True)
    @websocket
    async def socket() -> None:
        await aio.ws.send_str("socket")

    async with serve(app) as served:
        async with served.session.ws_connect("/") as connection:
            greeting = await connection.receive_str()
        async with served.session.get("/") as response:
            text = await response.text()

    assert ("socket", "page") == (greeting, text)


@pytest.mark.parametrize(
    "declared, asked, status",
    [
        ({}, "websocket", 400),
        ({}, "plain", 200),
        ({"websocket": True}, "plain", 400),
        ({"websocket": True}, "websocket", 200),
    ],
)
async def test_plain_view_is_found_as_werkzeug_says(
    declared: dict[str, Any], asked: str, status: int
) -> None:
    """A view without ``@websocket`` gets no websocket request unless its rule says so."""
    app = Flask(__name__)
    app.add_url_rule("/", "view", async_view, **declared)

    async with serve(app) as served:
        if asked == "plain":
            async with served.session.get("/") as response:
                answered = response.status
        else:
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await served.session.ws_connect("/")
            answered = refused.value.status

    assert status == answered


@pytest.mark.parametrize(
    "view, expected",
    [
        (websocket(async_view), True),
        (websocket(sync_view), True),
        (decorated(websocket(async_view)), True),
        (type("Socket", (View,), {"dispatch_request": websocket(async_view)}).as_view("a"), True),
        (type("Get", (MethodView,), {"get": websocket(async_view)}).as_view("a"), True),
        (functools.partial(websocket(async_view)), True),
        (async_view, False),
        (AsyncPage.as_view("a"), False),
        (Mixed.as_view("a"), False),
        (None, False),
    ],
)
def test_websocket_view_is_known_inside_decorators_and_classes(
    view: Callable[..., Any] | None, expected: bool
) -> None:
    """The mark of ``@websocket`` is found wherever Flask lets it be put."""
    assert expected is is_websocket_view(view)
