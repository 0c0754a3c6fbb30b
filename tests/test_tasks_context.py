"""A task has an application context of its own, and its request's only where that is asked for."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import pytest
from flask import Flask, current_app, g, has_request_context, request, session
from harness import eventually, serve

from flask_aiohttp import AioHTTP, await_

tenant: ContextVar[str] = ContextVar("tenant", default="nobody's")


class Tasks:
    """An application whose views start a task which looks around once its request is over."""

    def __init__(self, **options: Any) -> None:
        self.app = app = Flask("tasks")
        app.secret_key = "secret"
        self.aio = AioHTTP(app)
        self.options = options
        self.go_on = asyncio.Event()
        self.seen: list[Any] = []
        self.ended: list[str] = []
        self.requests: weakref.WeakSet[Any] = weakref.WeakSet()
        app.teardown_request(lambda _: self.ended.append("request"))
        app.teardown_appcontext(lambda _: self.ended.append("application"))

        @app.route("/sync/<name>")
        def sync_view(name: str) -> str:
            return self.start(name)

        @app.route("/async/<name>")
        async def async_view(name: str) -> str:
            return self.start(name)

    def start(self, name: str) -> str:
        self.requests.add(request._get_current_object())
        g.name = session["name"] = name
        tenant.set(name)
        self.aio.create_task(self.look(), **self.options)
        return "ok"

    async def look(self) -> None:
        await self.go_on.wait()
        self.seen.append(current_app.name)
        self.seen.append(tenant.get())
        self.seen.append(g.get("name", "nothing"))
        if has_request_context():
            self.seen.extend([request.path, request.view_args, session["name"]])

    async def served(self, path: str) -> None:
        """Serve one request to its end, then let its task go on to its own end."""
        async with serve(self.app) as served:
            async with served.session.get(path) as response:
                assert 200 == response.status
            await eventually(lambda: not served.server.traffic.in_flight, "the request's end")
            self.ended.append("answered")
            self.go_on.set()


both_places = pytest.mark.parametrize("path", ["/sync/ann", "/async/ann"])


@both_places
async def test_a_task_knows_its_application_and_not_its_request(path: str) -> None:
    """The request may be over: ``request`` and its ``g`` are out of reach, a variable is not."""
    tasks = Tasks()

    await tasks.served(path)

    assert ["tasks", "ann", "nothing"] == tasks.seen
    assert ["request", "application", "answered", "application"] == tasks.ended


@both_places
async def test_a_task_that_asks_has_a_copy_of_its_request(path: str) -> None:
    """The copy lasts as long as the task, and is torn down at its end."""
    tasks = Tasks(request_context=True)

    await tasks.served(path)

    assert ["tasks", "ann", "nothing", path, {"name": "ann"}, "ann"] == tasks.seen
    assert ["request", "application", "answered", "request", "application"] == tasks.ended


async def test_a_task_does_not_keep_its_request() -> None:
    """A task that runs for hours holds nothing of the request that started it."""
    tasks = Tasks()

    async with serve(tasks.app) as served:
        async with served.session.get("/async/ann"):
            pass
        await eventually(lambda: not served.server.traffic.in_flight, "the request's end")
        await eventually(lambda: [gc.collect(), len(tasks.requests)][1] == 0, "no request")
        tasks.go_on.set()

    assert ["tasks", "ann", "nothing"] == tasks.seen


def in_a_script(aio: AioHTTP, work: Any) -> None:
    aio.create_task(work, request_context=True)


def in_a_hook(aio: AioHTTP, work: Any) -> None:
    async def hook() -> None:
        aio.create_task(work, request_context=True)

    await_(hook())


@pytest.mark.parametrize("create", [in_a_script, in_a_hook])
def test_a_request_that_is_not_there_cannot_be_copied(
    create: Callable[[AioHTTP, Any], None],
) -> None:
    """Asked for outside of a request, the copy is an error; the coroutine is closed."""
    work = asyncio.sleep(0)

    with pytest.raises(RuntimeError, match="when a request context is active"):
        create(AioHTTP(Flask("tasks")), work)

    assert work.cr_frame is None


@pytest.mark.parametrize("work", [asyncio.sleep, None, 5])
def test_what_is_no_coroutine_is_refused(work: Any) -> None:
    """A function that was not called is the usual slip, and the error says what to write."""
    with pytest.raises(TypeError, match=r"needs a coroutine, as in create_task\(work\(\)\)"):
        AioHTTP(Flask("tasks")).create_task(work)


async def test_a_task_may_start_others_while_the_server_stops() -> None:
    """What a task starts during the drain is waited for too, before the hooks of the stop."""
    app = Flask("tasks")
    aio = AioHTTP(app)
    steps: list[str] = []
    go_on = asyncio.Event()

    async def second() -> None:
        await asyncio.sleep(0)
        steps.append("second")

    async def first() -> None:
        await go_on.wait()
        aio.create_task(second())
        steps.append("first")

    aio.on_startup(lambda: aio.create_task(first()))
    aio.on_shutdown(lambda: steps.append("shutdown"))
    async with serve(app) as served:
        stopping = asyncio.create_task(served.server.stop(20))
        await eventually(lambda: served.server.traffic.closing, "the stop to begin")
        go_on.set()
        await stopping

    assert ["first", "second", "shutdown"] == steps


async def test_tasks_are_listed_by_their_names() -> None:
    """``aio.tasks`` has those that have not ended, wherever it is asked."""
    app = Flask("tasks")
    aio = AioHTTP(app)
    go_on = asyncio.Event()

    @app.route("/start")
    def start() -> str:
        for name in ("one", "two"):
            aio.create_task(go_on.wait(), name=name)
        return "ok"

    @app.route("/")
    def names() -> list[str]:
        return sorted(task.get_name() for task in aio.tasks)

    async with serve(app) as served:
        lists = []
        for path in ("/", "/start", "/"):
            async with served.session.get(path) as response:
                lists.append(await response.text())
        go_on.set()
        await eventually(lambda: not list(aio.tasks), "the end of both")

    assert ["[]", "ok", '["one","two"]'] == [text.replace("\n", "").strip() for text in lists]
