"""Each kind of view, hook and helper of Flask works, sync and async, in both places."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Callable
from typing import Any

import pytest
from flask import Blueprint, Flask, current_app, g, render_template_string, request, url_for
from flask.views import MethodView, View
from werkzeug.routing import BaseConverter

from flask_aiohttp import async_, await_

from .ways import WAYS, running


async def upper(text: str) -> str:
    await asyncio.sleep(0)
    return text.upper()


def logged_in(view: Callable[..., Any]) -> Callable[..., Any]:
    """Guard a view of either kind, as Flask's documentation writes such decorators."""

    @functools.wraps(view)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        if "user" not in request.args:
            return "who are you?", 401
        return current_app.ensure_sync(view)(*args, **kwargs)

    return guarded


class Items(MethodView):
    decorators = [logged_in]
    init_every_request = False

    async def get(self, name: str) -> str:
        return f"get {await upper(name)}"

    def put(self, name: str) -> str:
        return f"put {name}"


class Page(View):
    methods = ["GET", "POST"]

    def __init__(self, title: str) -> None:
        self.title = title

    async def dispatch_request(self) -> str:
        return f"{request.method} {await upper(self.title)}"


class Reversed(BaseConverter):
    def to_python(self, value: str) -> str:
        return await_(upper(value[::-1]))

    def to_url(self, value: str) -> str:
        return value[::-1]


def make_app() -> Flask:
    app = Flask(__name__)
    app.url_map.converters["reversed"] = Reversed
    app.add_url_rule("/items/<name>", view_func=Items.as_view("items"))
    app.add_url_rule("/page", view_func=Page.as_view("page", "title"))
    app.jinja_env.filters["upper_later"] = lambda text: await_(upper(text))
    _add_views(app)
    inner = Blueprint("inner", __name__, url_prefix="/inner")
    outer = Blueprint("outer", __name__, url_prefix="/outer")

    @inner.before_request
    async def before() -> None:
        g.before = await upper("before")

    @inner.route("/")
    def view() -> str:
        return f"{g.before} {url_for('.view')} {request.blueprints}"

    outer.register_blueprint(inner)
    app.register_blueprint(outer)
    return app


def _add_views(app: Flask) -> None:
    @app.route("/guarded")
    @logged_in
    async def guarded() -> str:
        return await upper("welcome")

    @app.route("/template")
    async def template() -> str:
        return render_template_string("{{ 'text'|upper_later }} {{ request.args.user }}")

    @app.route("/sync-template")
    def sync_template() -> str:
        return render_template_string("{{ 'text'|upper_later }} {{ request.args.user }}")

    @app.route("/generator")
    @async_
    def generator():
        text = yield from upper("from a generator").__await__()
        return text

    @app.route("/waits")
    def waits() -> str:
        return await_(upper("waits"))

    @app.route("/nested")
    async def nested() -> str:
        return await outer_layer(3)

    async def outer_layer(depth: int) -> str:
        await asyncio.sleep(0)
        return inner_layer(depth)

    def inner_layer(depth: int) -> str:
        return await_(outer_layer(depth - 1)) if depth else await_(upper("nested"))

    @app.route("/reversed/<reversed:word>")
    async def reverse(word: str) -> str:
        return f"{word} {url_for('reverse', word='olleh')}"

    @app.route("/defaults", defaults={"page": 1})
    @app.route("/defaults/<int:page>")
    async def defaults(page: int) -> str:
        return str(page)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "path, method, status, text",
    [
        ("/items/pen?user=a", "GET", 200, "get PEN"),
        ("/items/pen?user=a", "PUT", 200, "put pen"),
        ("/items/pen", "GET", 401, "who are you?"),
        ("/items/pen?user=a", "HEAD", 200, ""),
        ("/page", "GET", 200, "GET TITLE"),
        ("/page", "POST", 200, "POST TITLE"),
        ("/guarded?user=a", "GET", 200, "WELCOME"),
        ("/guarded", "GET", 401, "who are you?"),
        ("/template?user=a", "GET", 200, "TEXT a"),
        ("/sync-template?user=a", "GET", 200, "TEXT a"),
        ("/generator", "GET", 200, "FROM A GENERATOR"),
        ("/waits", "GET", 200, "WAITS"),
        ("/nested", "GET", 200, "NESTED"),
        ("/reversed/hello", "GET", 200, "OLLEH /reversed/hello"),
        ("/defaults", "GET", 200, "1"),
        ("/defaults/2", "GET", 200, "2"),
        ("/outer/inner/", "GET", 200, "BEFORE /outer/inner/ ['outer.inner', 'outer']"),
    ],
)
async def test_view_works(way: str, path: str, method: str, status: int, text: str) -> None:
    """A view answers the same in each place and without this project's server."""
    async with running(make_app(), way) as client:
        answer = await client(path, method)

    assert (status, text) == (answer.status, answer.text)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "host, path, status, text",
    [
        ("api.example.org", "/", 200, "API of api"),
        ("shop.example.org", "/", 200, "API of shop"),
        ("example.org", "/", 404, None),
        ("www.example.net", "/", 200, "www"),
    ],
)
async def test_host_chooses_the_view(
    way: str, host: str, path: str, status: int, text: str | None
) -> None:
    """With ``host_matching`` the Host field chooses among views of the same path."""
    app = Flask(__name__, host_matching=True, static_host="static.example.org")

    @app.route("/", host="<name>.example.org")
    async def api(name: str) -> str:
        return f"API of {name}"

    @app.route("/", host="www.example.net")
    def www() -> str:
        return "www"

    async with running(app, way) as client:
        answer = await client(path, headers={"Host": host})

    assert status == answer.status
    assert text is None or text == answer.text


@pytest.mark.parametrize("way", WAYS)
async def test_subdomain_chooses_the_view(way: str) -> None:
    """With ``subdomain_matching`` the subdomain chooses among views of the same path."""
    app = Flask(__name__, subdomain_matching=True)
    app.config["SERVER_NAME"] = "example.org"

    @app.route("/", subdomain="<name>")
    async def api(name: str) -> str:
        return f"subdomain {name}"

    @app.route("/")
    def main() -> str:
        return "main"

    async with running(app, way) as client:
        answers = [
            (await client("/", headers={"Host": host})).text
            for host in ("api.example.org", "example.org")
        ]

    assert ["subdomain api", "main"] == answers


@pytest.mark.parametrize("way, expected", [("loop", True), ("threads", False)])
@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_way_is_what_it_says(way: str, expected: bool, kind: str) -> None:
    """Both kinds of views really run in the place that the other tests think they run in."""
    app = Flask(__name__)
    here = threading.current_thread()
    places: list[bool] = []

    @app.route("/sync")
    def sync_view() -> str:
        places.append(threading.current_thread() is here)
        return ""

    @app.before_request
    async def before() -> None:
        pass  # runs on the loop wherever the request runs

    @app.route("/async")
    async def async_view() -> str:
        return app.view_functions["sync_view"]()

    app.teardown_request(lambda _: places.append(threading.current_thread() is here))
    async with running(app, way) as client:
        await client(f"/{kind}")

    assert expected is places[-1]
    assert kind == "async" or expected is places[0]
