"""Hooks and signals run once each, in Flask's order, wherever a request runs."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import aiohttp
import flask
import pytest
from flask import Blueprint, Flask, Response, abort, after_this_request, stream_with_context

from flask_aiohttp import AioHTTP, await_, websocket

from .ways import WAYS, Client, running

SIGNALS = (
    "appcontext_pushed",
    "request_started",
    "template_rendered",
    "got_request_exception",
    "request_finished",
    "request_tearing_down",
    "appcontext_tearing_down",
    "appcontext_popped",
)


def make_app(record: list[str], hooks: str) -> Flask:
    """Return an application that writes down whatever Flask calls.

    Args:
        hooks: "sync" or "async": how its hooks are written.
    """
    app = Flask(__name__)
    aio = AioHTTP(app)
    _add_hooks(app, record, hooks == "async")
    _add_views(app, record)
    _add_sockets(app, aio, record)
    return app


def _add_hooks(app: Flask, record: list[str], is_async: bool) -> None:
    def hook(name: str) -> Callable[..., Any]:
        """Return a hook that writes its name down, and returns what it was given last."""

        def sync_hook(*args: Any) -> Any:
            record.append(name)
            return args[-1] if name.startswith("after") else None

        async def async_hook(*args: Any) -> Any:
            return sync_hook(*args)

        return async_hook if is_async else sync_hook

    blueprint = Blueprint("part", __name__)
    app.before_request(hook("before_request 1"))
    app.before_request(hook("before_request 2"))
    app.after_request(hook("after_request 1"))
    app.after_request(hook("after_request 2"))
    app.teardown_request(hook("teardown_request 1"))
    app.teardown_request(hook("teardown_request 2"))
    app.teardown_appcontext(hook("teardown_appcontext"))
    blueprint.before_request(hook("blueprint before_request"))
    blueprint.before_app_request(hook("blueprint before_app_request"))
    blueprint.after_request(hook("after blueprint's request"))
    blueprint.teardown_request(hook("blueprint teardown_request"))

    @app.url_value_preprocessor
    def preprocess(endpoint: str | None, values: dict[str, Any] | None) -> None:
        record.append("url_value_preprocessor")

    @app.context_processor
    def process() -> dict[str, Any]:
        record.append("context_processor")
        return {}

    blueprint.add_url_rule("/blueprint", view_func=lambda: "in a blueprint")
    app.register_blueprint(blueprint)


def _add_views(app: Flask, record: list[str]) -> None:
    @app.before_request
    def refuse() -> str | None:
        return "refused" if flask.request.path == "/refused" else None

    @app.errorhandler(404)
    async def not_found(error: Exception) -> tuple[str, int]:
        record.append("errorhandler")
        return "nothing here", 404

    @app.route("/sync")
    def sync_view() -> str:
        record.append("view")
        return flask.render_template_string("sync")

    @app.route("/async")
    @app.route("/refused")
    async def async_view() -> str:
        record.append("view")

        @after_this_request
        def after(response: Response) -> Response:
            record.append("after_this_request")
            return response

        return flask.render_template_string("async")

    @app.route("/sync-raises")
    def sync_raises() -> None:
        raise RuntimeError("a sync view fails")

    @app.route("/async-raises")
    async def async_raises() -> None:
        raise RuntimeError("an async view fails")

    @app.route("/aborts")
    async def aborts() -> None:
        abort(404)

    @app.route("/stream")
    def stream() -> Response:
        def parts() -> Iterator[str]:
            yield "first"
            record.append("streams")
            yield "last"

        return Response(stream_with_context(parts()))


def _add_sockets(app: Flask, aio: AioHTTP, record: list[str]) -> None:
    @app.route("/async-socket")
    @websocket
    async def async_socket() -> None:
        await aio.ws.send_str(await aio.ws.receive_str())
        record.append("view")

    @app.route("/sync-socket")
    @websocket
    def sync_socket() -> None:
        await_(aio.ws.send_str(await_(aio.ws.receive_str())))
        record.append("view")

    @app.route("/no-socket")
    def no_socket() -> str:
        record.append("view")
        return ""


@contextlib.contextmanager
def signals_recorded(app: Flask, record: list[str]) -> Iterator[None]:
    """Write each of Flask's signals of *app* into *record*."""
    with contextlib.ExitStack() as stack:
        for name in SIGNALS:

            def receive(sender: Any, *, signal: str = name, **values: Any) -> None:
                record.append(f"signal {signal}")

            stack.enter_context(getattr(flask, name).connected_to(receive, app))
        yield


async def record_of(way: str, path: str, hooks: str) -> list[str]:
    """Return what one request for *path* calls, in order."""
    async with recording(way, hooks) as (client, record):
        await client(path)
    return record


@contextlib.asynccontextmanager
async def recording(way: str, hooks: str) -> AsyncIterator[tuple[Client, list[str]]]:
    """Run the application; at the end the record has what the requests called."""
    record: list[str] = []
    app = make_app(record, hooks)
    app.config["PROPAGATE_EXCEPTIONS"] = False
    with signals_recorded(app, record):
        async with running(app, way) as client:
            # The start and the stop of a server push a context too, which is not the request's.
            record.clear()
            yield client, record
            answered = len(record)
        stop = "signal appcontext_pushed"
        del record[record.index(stop, answered) if stop in record[answered:] else len(record) :]


@pytest.mark.parametrize("hooks", ["sync", "async"])
@pytest.mark.parametrize(
    "path",
    [
        "/sync",
        "/async",
        "/sync-raises",
        "/async-raises",
        "/aborts",
        "/missing",
        "/refused",
        "/stream",
        "/blueprint",
        "/async-socket",
    ],
)
@pytest.mark.parametrize("way", ["loop", "threads", "werkzeug"])
async def test_order_is_that_of_the_test_client(way: str, path: str, hooks: str) -> None:
    """A request calls the same in the same order under a server as under Flask's test client."""
    expected = await record_of("test_client", path, hooks)

    assert expected == await record_of(way, path, hooks)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("path", ["/sync", "/async", "/sync-raises", "/async-raises"])
async def test_each_is_called_once(way: str, path: str) -> None:
    """Nothing is called twice: the old extension ran the hooks of an async view two times."""
    counts = Counter(await record_of(way, path, "async"))

    assert {1} == set(counts.values())
    assert 1 == counts["signal request_started"] == counts["before_request 1"]
    assert 1 == counts["signal appcontext_popped"] == counts["teardown_request 2"]
    assert ("raises" in path) == counts["signal got_request_exception"]


@pytest.mark.parametrize("hooks", ["sync", "async"])
@pytest.mark.parametrize("path", ["/async-socket", "/sync-socket"])
@pytest.mark.parametrize("way", ["loop", "threads"])
async def test_websocket_calls_what_a_plain_view_calls(way: str, path: str, hooks: str) -> None:
    """Around a websocket the hooks and signals are those of a plain view, in the same order."""
    expected = await record_of("test_client", "/no-socket", hooks)

    async with (
        recording(way, hooks) as (client, record),
        aiohttp.ClientSession(f"http://127.0.0.1:{client.port}") as session,
        session.ws_connect(path) as socket,
    ):
        await socket.send_str("hello")
        echo = await socket.receive_str()

    assert "hello" == echo
    assert expected == record
