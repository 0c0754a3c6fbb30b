"""A task goes on after its request, has a name, and its failure and its end are noticed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask, current_app, g, has_request_context
from harness import Served, eventually, serve

from flask_aiohttp import AioHTTP, NotInitialized, await_


class Work:
    """Something to do that a test holds up, and lets go on."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()
        self.steps: list[Any] = []

    async def do(self, name: str) -> str:
        self.steps.append(f"{name} begins")
        await self.go_on.wait()
        self.steps.append(f"{name} ends")
        return name


def make_app(work: Work) -> tuple[Flask, AioHTTP]:
    """Return an application of which everything that runs for a request starts a task."""
    app = Flask("tasks")
    aio = AioHTTP(app)

    @app.route("/sync")
    def sync_view() -> str:
        return aio.create_task(work.do("sync view")).get_name()

    @app.route("/async")
    async def async_view() -> str:
        return aio.create_task(work.do("async view"), name="mine").get_name()

    @app.route("/hook")
    def hook() -> str:
        return "from a hook"

    @app.after_request
    def after(response: Any) -> Any:
        if b"hook" in response.data:
            aio.create_task(work.do("hook"))
        return response

    return app, aio


async def text_of(served: Served, path: str) -> str:
    async with served.session.get(path) as response:
        assert 200 == response.status
        return await response.text()


@pytest.mark.parametrize(
    "path, begun, answer",
    [
        ("/sync", "sync view", "Work.do"),
        ("/async", "async view", "mine"),
        ("/hook", "hook", "from a hook"),
    ],
)
async def test_task_outlives_its_request(path: str, begun: str, answer: str) -> None:
    """The answer does not wait for the task, and the task goes on without the request."""
    work = Work()
    app, aio = make_app(work)

    async with serve(app) as served:
        assert answer == await text_of(served, path)
        await eventually(lambda: work.steps, "the task")
        with app.app_context():
            running = len(list(aio.tasks))
        work.go_on.set()
        await eventually(lambda: len(work.steps) == 2, "the task's end")

    assert 1 == running
    assert [f"{begun} begins", f"{begun} ends"] == work.steps


async def test_stop_waits_for_tasks_and_only_then_runs_its_hooks() -> None:
    """What a shutdown hook closes is there for the last task."""
    work = Work()
    app, aio = make_app(work)
    aio.on_shutdown(lambda: work.steps.append("shutdown"))

    async with serve(app) as served:
        await text_of(served, "/async")
        await eventually(lambda: work.steps, "the task")
        stopping = asyncio.create_task(served.server.stop(5))
        await eventually(lambda: served.server.traffic.closing, "the stop to begin")
        work.go_on.set()
        await stopping

    assert ["async view begins", "async view ends", "shutdown"] == work.steps


async def test_task_that_is_late_is_cancelled_and_named(caplog: pytest.LogCaptureFixture) -> None:
    """At the deadline of a stop a task is cancelled; its ``finally`` runs, and the log names it."""
    work = Work()
    app, aio = make_app(work)

    async def endless() -> None:
        try:
            await work.do("endless")
        finally:
            work.steps.append("finally")

    aio.on_startup(lambda: aio.create_task(endless(), name="endless"))
    aio.on_shutdown(lambda: work.steps.append("shutdown"))
    async with serve(app, graceful_timeout=0.05) as served:
        await text_of(served, "/hook")

    assert ["endless begins", "finally", "shutdown"] == [
        step for step in work.steps if "hook" not in step
    ]
    assert "the task 'endless' was cancelled at the stop" in caplog.text


@pytest.mark.parametrize("place", ["sync", "async"])
async def test_task_that_fails_is_logged_once(place: str, caplog: pytest.LogCaptureFixture) -> None:
    """A failure is logged with the task's name and its traceback, and costs nothing else."""
    app = Flask("tasks")
    aio = AioHTTP(app)

    async def broken() -> None:
        await asyncio.sleep(0)
        raise LookupError("broken")

    @app.route("/sync")
    def sync_view() -> str:
        aio.create_task(broken(), name="a broken task")
        return "ok"

    @app.route("/async")
    async def async_view() -> str:
        aio.create_task(broken(), name="a broken task")
        return "ok"

    async with serve(app) as served:
        answer = await text_of(served, f"/{place}")
        await eventually(lambda: caplog.records, "a line in the log")
        again = await text_of(served, f"/{place}")

    errors = [record for record in caplog.records if record.levelname == "ERROR"]
    assert ("ok", "ok") == (answer, again)
    assert ["the task 'a broken task' failed"] * 2 == [error.getMessage() for error in errors]
    assert 2 == caplog.text.count("LookupError: broken")


async def test_task_has_an_application_context_of_its_own() -> None:
    """A task has the application and a ``g`` of its own, as its request may be over."""
    app = Flask("tasks")
    aio = AioHTTP(app)
    seen: list[Any] = []
    go_on = asyncio.Event()

    async def look() -> None:
        await go_on.wait()
        seen.extend([current_app.name, g.get("name", "none")])

    @app.route("/")
    async def view() -> str:
        g.name = "of the request"
        aio.create_task(look())
        return "ok"

    async with serve(app) as served:
        await text_of(served, "/")
        go_on.set()

    assert ["tasks", "none"] == seen
    assert not has_request_context()


async def test_synchronous_code_below_a_task_may_wait() -> None:
    """``await_()`` works below a task as it does below an async view."""
    app = Flask("tasks")
    aio = AioHTTP(app)
    results: list[int] = []

    def compute() -> int:
        return await_(asyncio.sleep(0, 42))

    async def work() -> None:
        results.append(compute())

    @app.route("/")
    async def view() -> str:
        aio.create_task(work())
        return "ok"

    async with serve(app) as served:
        await text_of(served, "/")

    assert [42] == results


async def test_result_of_a_task_can_be_awaited() -> None:
    """What ``create_task`` returns is a task: it can be awaited, and cancelled in silence."""
    work = Work()
    app, aio = make_app(work)

    @app.route("/wait")
    async def wait() -> str:
        task = aio.create_task(work.do("one"))
        work.go_on.set()
        return await task

    @app.route("/cancel")
    async def cancel() -> str:
        aio.create_task(work.do("never begun")).cancel()
        return "cancelled"

    async with serve(app) as served:
        assert "one" == await text_of(served, "/wait")
        assert "cancelled" == await text_of(served, "/cancel")

    assert ["one begins", "one ends"] == work.steps


def create_in_test_client(app: Flask, aio: AioHTTP, results: list[str]) -> asyncio.Task[Any]:
    tasks: list[asyncio.Task[Any]] = []

    async def work() -> None:
        await asyncio.sleep(0)
        results.append(current_app.name)

    @app.route("/")
    def view() -> str:
        tasks.append(aio.create_task(work()))
        return "ok"

    app.test_client().get("/")
    return tasks[0]


def create_in_script(app: Flask, aio: AioHTTP, results: list[str]) -> asyncio.Task[Any]:
    async def work() -> None:
        await asyncio.sleep(0)
        results.append(current_app.name)

    return aio.create_task(work())


@pytest.mark.parametrize("create", [create_in_test_client, create_in_script])
def test_task_runs_where_nothing_is_served(create: Callable[..., asyncio.Task[Any]]) -> None:
    """In the test client and in a script, a task runs on the background loop."""
    app = Flask("tasks")
    aio = AioHTTP(app)
    results: list[str] = []

    task = create(app, aio, results)
    await_(asyncio.wait_for(_result_of(task), 20))

    assert ["tasks"] == results


async def _result_of(task: asyncio.Task[Any]) -> Any:
    return await task


def test_task_without_an_application_says_what_to_do() -> None:
    """``create_task`` where no application is known is an error that names ``init_app``."""
    work = asyncio.sleep(0)

    with pytest.raises(NotInitialized, match=r"call 'aio.init_app\(app\)' first"):
        AioHTTP().create_task(work)
    work.close()
