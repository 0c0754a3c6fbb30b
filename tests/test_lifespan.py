"""The hooks of start and stop run in order, once, on the loop, and say what is wrong with them."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from aiohttp import web
from flask import Flask, current_app, g, has_app_context, has_request_context
from harness import eventually, serve

from flask_aiohttp import AioHTTP, InvalidSetting, await_

setting: contextvars.ContextVar[str] = contextvars.ContextVar("setting")


def make_app(order: list[str]) -> tuple[Flask, AioHTTP]:
    """Return an application with hooks of each kind, between each other."""
    app = Flask("lifespan")
    aio = AioHTTP(app)
    app.add_url_rule("/", "view", lambda: order.append("request") or "ok")

    @aio.on_shutdown
    async def stop_first() -> None:
        order.append("async shutdown")

    @aio.on_startup
    def start_first() -> None:
        order.append("sync startup")

    @aio.lifespan
    async def outer() -> AsyncIterator[None]:
        order.append("outer begins")
        await asyncio.sleep(0)
        yield
        await asyncio.sleep(0)
        order.append("outer ends")

    @aio.on_startup
    async def start_last() -> None:
        order.append("async startup")

    @aio.lifespan
    async def inner() -> AsyncIterator[None]:
        order.append("inner begins")
        yield
        order.append("inner ends")

    @aio.on_shutdown
    def stop_last() -> None:
        order.append("sync shutdown")

    return app, aio


async def test_hooks_run_in_order_and_backwards() -> None:
    """The start runs the hooks as they were registered, the stop in the reverse order."""
    order: list[str] = []
    app, _ = make_app(order)

    async with serve(app) as served, served.session.get("/"):
        pass

    assert [
        "sync startup",
        "outer begins",
        "async startup",
        "inner begins",
        "request",
        "sync shutdown",
        "inner ends",
        "outer ends",
        "async shutdown",
    ] == order


async def test_hooks_run_under_any_server_of_aiohttp() -> None:
    """Whoever runs ``app.aiohttp_app`` runs the hooks."""
    order: list[str] = []
    app, _ = make_app(order)
    runner = web.AppRunner(app.aiohttp_app)

    await runner.setup()
    started = len(order)
    await runner.cleanup()

    assert (4, 8) == (started, len(order))


async def test_decorated_functions_stay_what_they_were() -> None:
    """The decorators return the function: it can be called by a test, or used as another hook."""
    aio = AioHTTP()

    async def hook() -> None:
        pass

    async def generator() -> AsyncIterator[None]:
        yield

    assert hook is aio.on_startup(hook) is aio.on_shutdown(hook)
    assert generator is aio.lifespan(generator)


async def test_hooks_see_one_application_context_from_start_to_stop() -> None:
    """Hooks have the application, one ``g`` and one set of context variables, and no request."""
    app = Flask("lifespan")
    aio = AioHTTP(app)
    seen: list[Any] = []

    @aio.on_startup
    async def start() -> None:
        g.pool = "open"
        setting.set("set at the start")
        seen.extend([current_app.name, has_request_context()])

    @aio.on_shutdown
    def stop() -> None:
        seen.extend([current_app.name, g.pool, setting.get()])

    app.teardown_appcontext(lambda _: seen.append("teardown"))
    async with serve(app):
        before_stop = len(seen)

    assert ["lifespan", False, "lifespan", "open", "set at the start", "teardown"] == seen
    assert 2 == before_stop
    assert not has_app_context()
    assert "none" == setting.get("none")


async def test_a_token_of_the_start_is_good_at_the_stop() -> None:
    """What a lifespan sets before its ``yield`` it can reset after it, and between hooks too."""
    app = Flask("lifespan")
    aio = AioHTTP(app)
    seen: list[Any] = []
    tokens: list[Any] = []

    @aio.on_startup
    def start() -> None:
        tokens.append(setting.set("set by a hook"))

    @aio.lifespan
    async def lifespan() -> AsyncIterator[None]:
        token = setting.set("set by a lifespan")
        yield
        setting.reset(token)
        seen.append(setting.get("none"))

    @aio.on_shutdown
    async def stop() -> None:
        seen.append(setting.get("none"))

    app.teardown_appcontext(lambda _: [setting.reset(tokens.pop()), seen.append(setting.get("-"))])
    async with serve(app):
        pass

    assert ["set by a lifespan", "set by a hook", "-"] == seen


async def test_hooks_run_on_the_loop_and_may_wait() -> None:
    """Sync and async hooks run on the loop that serves, and sync ones wait with ``await_``."""
    app = Flask(__name__)
    aio = AioHTTP(app)
    loops: list[asyncio.AbstractEventLoop] = []

    async def note() -> None:
        await asyncio.sleep(0)
        loops.append(asyncio.get_running_loop())

    aio.on_startup(note)
    aio.on_startup(lambda: await_(note()))
    aio.on_shutdown(lambda: await_(note()))
    aio.on_shutdown(note)
    async with serve(app):
        pass

    assert [asyncio.get_running_loop()] * 4 == loops


async def test_start_does_not_wait_for_a_task_that_a_hook_returns() -> None:
    """A hook may be one line that starts a task which runs until the stop."""
    app = Flask(__name__)
    aio = AioHTTP(app)
    stop = asyncio.Event()

    aio.on_startup(lambda: aio.create_task(stop.wait()))
    async with serve(app):
        with app.app_context():
            running = len(list(aio.tasks))
        stop.set()

    assert 1 == running


async def test_requests_end_before_the_stop_begins() -> None:
    """What a shutdown hook closes is there for the last request."""
    order: list[str] = []
    app, _ = make_app(order)
    go_on = asyncio.Event()

    @app.route("/slow")
    async def slow() -> str:
        await go_on.wait()
        order.append("slow request")
        return "ok"

    async with serve(app) as served:
        asking = asyncio.create_task(served.session.get("/slow"))
        await eventually(lambda: served.server.traffic.in_flight, "the request")
        stopping = asyncio.create_task(served.server.stop(5))
        await eventually(lambda: served.server.traffic.closing, "the stop to begin")
        go_on.set()
        response = await asking
        await stopping

        assert 200 == response.status
        assert order.index("slow request") < order.index("sync shutdown")


def fail() -> None:
    raise LookupError("no database")


async def fail_later() -> None:
    await asyncio.sleep(0)
    fail()


async def fail_to_begin() -> AsyncIterator[None]:
    fail()
    yield


@pytest.mark.parametrize("how", ["sync", "async", "lifespan"])
async def test_start_that_fails_stops_the_server(how: str) -> None:
    """A failing start is raised; what had begun is ended, and nothing else is called."""
    order: list[str] = []
    app, aio = make_app(order)
    {
        "sync": lambda: aio.on_startup(fail),
        "async": lambda: aio.on_startup(fail_later),
        "lifespan": lambda: aio.lifespan(fail_to_begin),
    }[how]()
    aio.on_startup(lambda: order.append("never"))

    with pytest.raises(LookupError, match="no database"):
        async with serve(app):
            raise AssertionError("started")

    assert [
        "sync startup",
        "outer begins",
        "async startup",
        "inner begins",
        "inner ends",
        "outer ends",
    ] == order


@pytest.mark.parametrize("hook", [fail, fail_later])
async def test_stop_that_fails_is_logged_and_goes_on(
    hook: Callable[[], Any], caplog: pytest.LogCaptureFixture
) -> None:
    """Each hook of the stop runs, whatever the others do, and each failure is logged."""
    order: list[str] = []
    app, aio = make_app(order)
    aio.on_shutdown(hook)

    @aio.lifespan
    async def failing() -> AsyncIterator[None]:
        yield
        fail()

    async with serve(app):
        pass

    messages = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert ["sync shutdown", "inner ends", "outer ends", "async shutdown"] == order[-4:]
    assert 2 == len(messages)
    assert repr(failing) in messages[0]
    assert repr(hook) in messages[1]
    assert all("failed at the stop" in message for message in messages)


async def never_yields() -> AsyncIterator[None]:
    for _ in ():
        yield


async def test_lifespan_without_a_yield_stops_the_server() -> None:
    """A generator that yields nothing is a mistake that the start tells."""
    app = Flask(__name__)
    AioHTTP(app).lifespan(never_yields)

    with pytest.raises(RuntimeError, match="generator didn't yield"):
        async with serve(app):
            raise AssertionError("started")


async def test_lifespan_with_two_yields_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """A second yield is a mistake that the stop tells."""
    app = Flask(__name__)

    @AioHTTP(app).lifespan
    async def twice() -> AsyncIterator[None]:
        yield
        yield

    async with serve(app):
        pass

    assert "generator didn't stop" in caplog.text


def plain() -> None:
    pass


async def coroutine() -> None:
    pass


@pytest.mark.parametrize("function", [plain, coroutine, object()])
def test_lifespan_needs_an_async_generator(function: Any) -> None:
    """Anything else is refused where it is written, with what to write instead."""
    with pytest.raises(TypeError, match=r"write 'async def \.\.\.: \.\.\.; yield; \.\.\.'"):
        AioHTTP().lifespan(function)


@pytest.mark.parametrize("value", [0, -1, "many", 2.5, True, None])
async def test_bad_number_of_threads_stops_the_start(value: Any) -> None:
    """``AIOHTTP_THREADS`` that is no number of threads is told before anything is served."""
    order: list[str] = []
    app, _ = make_app(order)
    app.config["AIOHTTP_THREADS"] = value

    with pytest.raises(InvalidSetting, match=r"AIOHTTP_THREADS is .*, but must be a whole number"):
        async with serve(app):
            raise AssertionError("started")
    assert [] == order
