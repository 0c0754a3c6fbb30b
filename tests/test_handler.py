"""Many requests are served at a time, each whole in its place, and each by itself."""

from __future__ import annotations

import asyncio
import resource
import threading
from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest
from flask import (
    Flask,
    Response,
    current_app,
    g,
    render_template_string,
    request,
    session,
    stream_with_context,
)
from harness import PATIENCE, Served, eventually, serve

from flask_aiohttp import AioHTTP, await_

MANY = 1000


@pytest.fixture(name="many_files")
def _many_files() -> Iterator[None]:
    """Let this process have as many connections as the test needs, two ends each."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = 2 * MANY + 200
    if hard != resource.RLIM_INFINITY and hard < needed:
        pytest.skip(f"the system allows {hard} open files, and the test needs {needed}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, needed), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def text_of(served: Served, path: str) -> str:
    async with served.session.get(path) as response:
        assert 200 == response.status
        return await response.text()


async def test_thousand_async_requests_wait_for_each_other(many_files: None) -> None:
    """A thousand requests are under way at once, and each has its own request, g and session."""
    app = Flask(__name__)
    app.secret_key = "test"
    arrived: list[str] = []
    all_arrived = asyncio.Event()

    @app.before_request
    async def before() -> None:
        g.name = session["name"] = request.args["name"]

    @app.route("/")
    async def view() -> list[str]:
        before = [g.name, session["name"], request.args["name"]]
        arrived.append(g.name)
        if len(arrived) == MANY:
            all_arrived.set()
        await all_arrived.wait()
        return [*before, g.name, session["name"], request.args["name"]]

    async def ask(number: int) -> list[str]:
        async with served.session.get(f"/?name={number}") as response:
            return await response.json()

    async with serve(app) as served:
        answers = await asyncio.wait_for(
            asyncio.gather(*map(ask, range(MANY))), timeout=2 * PATIENCE
        )

    assert [[str(number)] * 6 for number in range(MANY)] == answers
    assert MANY == len(set(arrived))


async def test_blocked_threads_hold_up_no_async_view() -> None:
    """A hundred sync requests that block do not keep an async one from its answer."""
    app = Flask(__name__)
    release = threading.Event()
    entered: list[str] = []

    @app.route("/block")
    def block() -> str:
        entered.append(threading.current_thread().name)
        release.wait(PATIENCE)
        return request.args["n"]

    @app.route("/async")
    async def quick() -> str:
        await asyncio.sleep(0)
        return f"release is set: {release.is_set()}"

    async with serve(app, threads=10) as served:
        blocked = [asyncio.create_task(text_of(served, f"/block?n={n}")) for n in range(100)]
        await eventually(lambda: len(entered) == 10, "ten threads at work")
        await eventually(lambda: len(served.server.traffic.in_flight) == 100, "all requests")
        answer = await text_of(served, "/async")
        at_work = len(entered)
        release.set()
        answers = await asyncio.gather(*blocked)

    assert "release is set: False" == answer
    assert 10 == at_work
    assert 100 == len(entered)
    assert 10 == len(set(entered))
    assert [str(n) for n in range(100)] == answers


@pytest.mark.parametrize("path", ["/async", "/sync"])
@pytest.mark.parametrize("size", [10, 100_000])
async def test_view_waits_for_a_body_that_comes_late(path: str, size: int) -> None:
    """``request.get_json()`` waits for the rest of the body, while the loop serves others."""
    app = Flask(__name__)
    started = asyncio.Event()
    loop = asyncio.get_running_loop()

    @app.before_request
    def note() -> None:
        if request.method == "POST":
            loop.call_soon_threadsafe(started.set)

    @app.post("/sync")
    def sync_view() -> str:
        return str(len(request.get_json()))

    @app.post("/async")
    async def async_view() -> str:
        return str(len(request.get_json()))

    @app.route("/other")
    async def other() -> str:
        return "other"

    async def body() -> AsyncIterator[bytes]:
        yield b'"' + b"x" * size
        if path == "/async" or size > 65536:
            await started.wait()  # what a thread can be given whole waits for no view
        others.append(await text_of(served, "/other"))
        yield b'"'

    others: list[str] = []
    headers = {"Content-Type": "application/json", "Content-Length": str(size + 2)}
    async with (
        serve(app, threads=1) as served,
        served.session.post(path, data=body(), headers=headers) as response,
    ):
        assert str(size) == await response.text()
        assert ["other"] == others


async def test_sync_view_uses_the_session_that_the_start_has_opened() -> None:
    """What ``on_startup`` opens on the loop serves sync views, async views and filters."""
    app = Flask(__name__)
    aio = AioHTTP(app)

    @aio.lifespan
    async def client() -> AsyncIterator[None]:
        async with aiohttp.ClientSession() as current_app.extensions["client"]:
            yield

    async def fetch(name: str) -> str:
        url = f"{request.host_url}hello/{name}"
        async with app.extensions["client"].get(url) as response:
            return await response.text()

    @app.route("/hello/<name>")
    async def hello(name: str) -> str:
        await asyncio.sleep(0)
        return f"hello {name}"

    @app.route("/sync")
    def sync_view() -> str:
        response = await_(app.extensions["client"].get(f"{request.host_url}hello/sync"))
        return await_(response.text())

    @app.route("/async")
    async def async_view() -> str:
        return await fetch("async")

    @app.route("/template")
    def template() -> str:
        return render_template_string("{{ 'filter'|fetch }}")

    app.jinja_env.filters["fetch"] = lambda name: await_(fetch(name))
    async with serve(app) as served:
        answers = [await text_of(served, path) for path in ("/sync", "/async", "/template")]

    assert ["hello sync", "hello async", "hello filter"] == answers


@pytest.mark.parametrize("allowed", [True, False])
async def test_async_hook_guards_a_sync_view(allowed: bool) -> None:
    """An ``async def before_request`` decides whether a sync view is called."""
    app = Flask(__name__)
    called: list[str] = []

    @app.before_request
    async def guard() -> tuple[str, int] | None:
        await asyncio.sleep(0)
        return None if request.args["allowed"] == "True" else ("no", 403)

    @app.route("/")
    def view() -> str:
        called.append(threading.current_thread().name)
        return "yes"

    async with serve(app) as served, served.session.get(f"/?allowed={allowed}") as response:
        assert (200 if allowed else 403) == response.status
    assert allowed is bool(called)


async def test_requests_of_one_connection_do_not_see_each_other() -> None:
    """On a kept connection each request begins with a clean context."""
    app = Flask(__name__)

    @app.route("/")
    async def view() -> list[str]:
        found = g.get("name", "none")
        g.name = "set"
        return [found, request.environ["REMOTE_PORT"]]

    async with serve(app) as served:
        answers = []
        for _ in range(3):
            async with served.session.get("/") as response:
                answers.append(await response.json())

    assert ["none"] * 3 == [found for found, _ in answers]
    assert 1 == len({port for _, port in answers})


def make_streaming_app() -> tuple[Flask, asyncio.Event]:
    """Return an application whose streams go on when the event is set."""
    app = Flask(__name__)
    go_on = asyncio.Event()

    async def wait() -> None:
        await asyncio.wait_for(go_on.wait(), PATIENCE)

    @stream_with_context
    def parts() -> Iterator[str]:
        yield f"first {request.args['name']},"
        await_(wait())
        yield f"last {request.args['name']}"

    app.add_url_rule("/sync", "sync", lambda: Response(parts()))

    @app.route("/async")
    async def async_view() -> Response:
        await asyncio.sleep(0)
        return Response(parts())

    return app, go_on


@pytest.mark.parametrize("path", ["/sync", "/async"])
async def test_stream_is_sent_as_it_is_made(path: str) -> None:
    """A part of a stream arrives while the generator waits, with its context, for the next."""
    app, go_on = make_streaming_app()

    async with serve(app) as served, served.session.get(f"{path}?name=a") as response:
        first = await response.content.readuntil(b",")
        go_on.set()
        last = await response.read()

    assert (b"first a,", b"last a") == (first, last)


async def test_streams_wait_side_by_side() -> None:
    """Many async streams wait at a time, and each keeps its own context."""
    app, go_on = make_streaming_app()

    async def ask(number: int) -> bytes:
        async with served.session.get(f"/async?name={number}") as response:
            first = await response.content.readuntil(b",")
            waiting.append(number)
            if len(waiting) == 50:
                go_on.set()
            return first + await response.read()

    waiting: list[int] = []
    async with serve(app) as served:
        answers = await asyncio.gather(*map(ask, range(50)))

    assert [b"first %d,last %d" % (n, n) for n in range(50)] == answers
