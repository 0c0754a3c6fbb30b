"""Each request has contexts of its own, and all that runs for it shares them."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Iterator

import pytest
from flask import (
    Flask,
    Response,
    copy_current_request_context,
    current_app,
    g,
    has_app_context,
    has_request_context,
    request,
    session,
    stream_with_context,
)

from flask_aiohttp import await_

from .ways import WAYS, running

language: contextvars.ContextVar[str] = contextvars.ContextVar("language", default="none")


async def set_language(value: str) -> None:
    await asyncio.sleep(0)
    language.set(value)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("path", ["/sync", "/async"])
async def test_variable_set_anywhere_is_seen_from_there_on(way: str, path: str) -> None:
    """A context variable goes through hooks, view, stream and teardown, sync and async."""
    app = Flask(__name__)
    seen: list[str] = []

    @app.before_request
    async def before() -> None:
        await asyncio.sleep(0)
        seen.append(language.get())
        language.set("before")

    @app.route("/sync")
    def sync_view() -> Response:
        seen.append(language.get())
        await_(set_language("view"))
        return Response(stream_with_context(parts()))

    @app.route("/async")
    async def async_view() -> Response:
        seen.append(language.get())
        await set_language("view")
        return Response(stream_with_context(parts()))

    def parts() -> Iterator[str]:
        seen.append(language.get())
        await_(set_language("stream"))
        yield language.get()

    @app.after_request
    async def after(response: Response) -> Response:
        seen.append(language.get())
        await set_language("after")
        return response

    async with running(app, way) as client:
        answer = await client(path)

    assert ["none", "before", "view", "after"] == seen
    assert "stream" == answer.text


@pytest.mark.parametrize("way", ["loop", "threads", "werkzeug"])
async def test_variable_of_one_request_is_not_seen_by_the_next(way: str) -> None:
    """What a request sets ends with it, whichever thread or connection serves the next."""
    app = Flask(__name__)

    @app.route("/<name>")
    async def view(name: str) -> str:
        before = language.get()
        language.set(name)
        return before

    async with running(app, way) as client:
        answers = [(await client(f"/{number}")).text for number in range(5)]

    assert ["none"] * 5 == answers


@pytest.mark.parametrize("way", WAYS)
async def test_contexts_are_gone_after_the_request(way: str) -> None:
    """What is called outside of a request finds no context of one."""
    app = Flask(__name__)
    seen: list[bool] = []

    @app.route("/")
    async def view() -> Response:
        response = Response("ok")
        response.call_on_close(lambda: seen.extend([has_request_context(), has_app_context()]))
        return response

    async with running(app, way) as client:
        await client("/")

    assert [False, False] == seen


@pytest.mark.parametrize("way", WAYS)
async def test_copied_context_is_used_by_a_task_and_a_thread(way: str) -> None:
    """``copy_current_request_context`` gives the request to a task and to a thread."""
    app = Flask(__name__)

    @app.route("/")
    async def view() -> str:
        @copy_current_request_context
        def in_thread() -> str:
            return f"{request.args['name']} in a thread of {current_app.name}"

        async def in_task() -> str:
            await asyncio.sleep(0)
            return f"{request.args['name']} in a task"

        task = asyncio.create_task(in_task())
        return f"{await asyncio.to_thread(in_thread)}, {await task}"

    async with running(app, way) as client:
        answer = await client("/?name=Ada")

    assert f"Ada in a thread of {__name__}, Ada in a task" == answer.text


@pytest.mark.parametrize("way", WAYS)
async def test_proxies_mean_the_same_before_and_after_each_wait(way: str) -> None:
    """``request``, ``g``, ``session`` and the test of the context survive each wait."""
    app = Flask(__name__)
    app.secret_key = "test"

    @app.before_request
    async def before() -> None:
        g.name = session["name"] = request.args["name"]

    @app.route("/sync")
    def sync_view() -> list[str]:
        values = [g.name, session["name"], request.args["name"]]
        await_(asyncio.sleep(0))
        return [*values, g.name, session["name"], request.args["name"]]

    @app.route("/async")
    async def async_view() -> list[str]:
        values = [g.name, session["name"], request.args["name"]]
        await asyncio.sleep(0)
        return [*values, *await asyncio.create_task(later())]

    async def later() -> list[str]:
        await asyncio.sleep(0)
        return [g.name, session["name"], request.args["name"]]

    async with running(app, way) as client:
        answers = await asyncio.gather(
            *(client(f"/{view}?name={n}") for n in range(10) for view in ("sync", "async"))
        )

    assert [[str(n)] * 6 for n in range(10) for _ in range(2)] == [a.json for a in answers]


@pytest.mark.parametrize("way", WAYS)
async def test_whole_request_runs_in_one_thread(way: str) -> None:
    """Hooks, view, stream and teardown run in one thread: a database session may be bound to it."""
    app = Flask(__name__)
    threads: list[threading.Thread] = []

    def note(*_: object) -> None:
        threads.append(threading.current_thread())

    app.before_request(note)
    app.teardown_request(note)
    app.teardown_appcontext(note)

    @app.route("/")
    def view() -> Response:
        note()
        await_(asyncio.sleep(0))

        def parts() -> Iterator[str]:
            note()
            yield "one"
            await_(asyncio.sleep(0))
            note()

        return Response(parts())

    async with running(app, way) as client:
        threads.clear()  # a server's start pushes a context too
        await client("/")
        used = tuple(threads)

    assert 6 == len(used)
    assert 1 == len(set(used))
