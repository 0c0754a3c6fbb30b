"""Synchronous code waits in a greenlet on the loop as coroutines do."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextvars import ContextVar, copy_context
from typing import Any

import pytest
from greenlet import getcurrent

from flask_aiohttp import _bridge, await_

variable: ContextVar[Any] = ContextVar("variable", default="nothing")


class Thing:
    """Something that can be watched with a weak reference."""


@pytest.fixture(autouse=True)
def _no_kept_carriers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin without carriers that other tests have used."""
    monkeypatch.setattr(_bridge._idle, "carriers", [])


@pytest.fixture
def _no_garbage_collection() -> Iterator[None]:
    """Let objects die only when the last reference to them goes."""
    gc.disable()
    yield
    gc.enable()


def pause() -> None:
    """Wait for one turn of the loop."""
    await_(asyncio.sleep(0))


def carriers_of(runs: list[_bridge.Carrier | None]) -> set[int]:
    return {id(carrier) for carrier in runs}


async def test_async_and_sync_code_nest_to_any_depth() -> None:
    """A coroutine may call a function that waits for a coroutine that calls a function, and on."""
    layers = []

    def sync(depth: int) -> int:
        pause()
        layers.append("sync")
        return await_(asynchronous(depth - 1)) + 1 if depth else 0

    async def asynchronous(depth: int) -> int:
        await asyncio.sleep(0)
        layers.append("async")
        return sync(depth)

    result = await _bridge.run(lambda: sync(50))

    assert 50 == result
    assert ["sync", "async"] * 50 + ["sync"] == layers


async def test_the_current_task_is_the_same_in_every_layer() -> None:
    """Sync and async code below a run are steps of the task that runs it."""
    tasks = []

    def sync() -> None:
        tasks.append(asyncio.current_task())
        await_(asynchronous())
        tasks.append(asyncio.current_task())

    async def asynchronous() -> None:
        await asyncio.sleep(0)
        tasks.append(asyncio.current_task())
        inner()

    def inner() -> None:
        pause()
        tasks.append(asyncio.current_task())

    await _bridge.run(sync)

    assert [asyncio.current_task()] * 4 == tasks


async def test_a_wait_lets_the_loop_go_on() -> None:
    """While one run waits, others proceed: here each waits for all to have begun."""
    begun = []
    all_begun = asyncio.Event()

    def function() -> None:
        begun.append(_bridge.current_carrier())
        if len(begun) == 20:
            all_begun.set()
        await_(all_begun.wait())

    await asyncio.gather(*(_bridge.run(function) for _ in range(20)))

    assert 20 == len(carriers_of(begun))


class Awaitable:
    def __await__(self) -> Generator[Any, Any, str]:
        yield from asyncio.sleep(0).__await__()
        return "awaited"


async def coroutine() -> str:
    await asyncio.sleep(0)
    return "awaited"


async def generator() -> AsyncIterator[str]:
    await asyncio.sleep(0)
    yield "awaited"


def done_future() -> asyncio.Future[str]:
    future = asyncio.get_running_loop().create_future()
    future.set_result("awaited")
    return future


@pytest.mark.parametrize(
    "make",
    [
        coroutine,
        Awaitable,
        done_future,
        lambda: asyncio.ensure_future(coroutine()),
        lambda: asyncio.wait_for(coroutine(), 20),
        lambda: generator().__aiter__().__anext__(),
    ],
    ids=["coroutine", "object", "future", "task", "wait_for", "asend"],
)
async def test_whatever_can_be_awaited_can_be_waited_for(make: Callable[[], Any]) -> None:
    """A wait returns what ``await`` would return, for every kind of awaitable."""
    result = await _bridge.run(lambda: await_(make()))

    assert "awaited" == result


async def test_a_timeout_inside_reaches_synchronous_code() -> None:
    """What ``wait_for`` raises is raised where the synchronous code waits."""

    def function() -> str:
        try:
            await_(asyncio.wait_for(asyncio.Event().wait(), 0.001))
        except asyncio.TimeoutError:
            return "timed out"
        return "not"

    assert "timed out" == await _bridge.run(function)


async def test_a_timeout_around_a_run_ends_it() -> None:
    """``wait_for`` cancels a run that takes too long."""
    seen = []

    def function() -> None:
        try:
            await_(asyncio.Event().wait())
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(_bridge.run(function), 0.001)

    assert ["cancelled"] == seen


@pytest.mark.skipif(sys.version_info < (3, 11), reason="asyncio.timeout is new in 3.11")
async def test_a_timeout_block_ends_synchronous_code_below_it() -> None:
    """``asyncio.timeout`` finds its own task, whatever lies between it and the wait."""
    seen = []

    def inner() -> None:
        try:
            await_(asyncio.Event().wait())
        finally:
            seen.append("finally")

    async def asynchronous() -> None:
        async with asyncio.timeout(0.001):
            await asyncio.sleep(0)
            inner()

    def function() -> str:
        try:
            await_(asynchronous())
        except TimeoutError:
            pause()
            return "timed out"
        return "not"

    assert "timed out" == await _bridge.run(function)
    assert ["finally"] == seen


async def test_context_variables_are_one_set_for_one_run() -> None:
    """What a layer sets is seen by every layer after it, and by nobody outside the run."""

    def function() -> list[str]:
        seen = [variable.get()]
        variable.set("sync")
        seen.append(await_(asynchronous()))
        seen.append(variable.get())
        return seen

    async def asynchronous() -> str:
        await asyncio.sleep(0)
        before = str(variable.get())
        variable.set("async")
        return before

    assert ["nothing", "sync", "async"] == await _bridge.run(function)
    assert "nothing" == variable.get()


async def test_context_variables_of_runs_side_by_side_are_apart() -> None:
    """Each of many runs that take turns sees its own values only."""

    def function(number: int) -> list[int]:
        variable.set(number)
        seen = []
        for _ in range(5):
            pause()
            seen.append(variable.get())
        return seen

    runs = [_bridge.run(lambda number=number: function(number)) for number in range(20)]

    assert [[number] * 5 for number in range(20)] == await asyncio.gather(*runs)


async def test_a_given_context_is_used_and_kept() -> None:
    """``run_in()`` changes the very context that it is given."""
    context = copy_context()

    def function() -> None:
        pause()
        variable.set("set")

    async def run() -> None:
        await _bridge.run_in(context, function)

    await run()

    assert "set" == context[variable]
    assert "nothing" == variable.get()


async def test_a_context_variable_can_be_reset_after_a_wait() -> None:
    """The token of a variable stays valid: a run has one context from end to end."""

    def function() -> None:
        token = variable.set("set")
        pause()
        variable.reset(token)

    await _bridge.run(function)


async def test_a_kept_greenlet_starts_with_the_callers_context() -> None:
    """The next run on the same greenlet sees nothing of the last one's variables."""
    variable.set("the caller's")
    carriers = []

    def function() -> object:
        carriers.append(_bridge.current_carrier())
        before = variable.get()
        variable.set("left behind")
        return before

    results = [await _bridge.run(function), await _bridge.run(function)]

    assert ["the caller's", "the caller's"] == results
    assert 1 == len(carriers_of(carriers))


@pytest.mark.usefixtures("_no_garbage_collection")
async def test_a_kept_greenlet_holds_nothing_of_its_last_call() -> None:
    """Function, result and context variables of a run die with their last user."""
    watched = {}

    async def run() -> None:
        argument = Thing()

        def function() -> Thing:
            pause()
            local, result = Thing(), Thing()
            variable.set(local)
            watched["local"] = weakref.ref(local)
            watched["result"] = weakref.ref(result)
            watched["argument"] = weakref.ref(argument)
            return result

        watched["function"] = weakref.ref(function)
        await _bridge.run(function)

    await run()

    assert 1 == len(_bridge._idle.carriers)
    assert [None] * 4 == [watched[name]() for name in watched]


class Broken(Exception):
    """Raised by tests; can be watched with a weak reference."""


@pytest.mark.usefixtures("_no_garbage_collection")
async def test_a_kept_greenlet_holds_nothing_of_its_last_error() -> None:
    """An error and the frames of its traceback die once it has been handled."""
    watched = {}

    def function() -> None:
        local = Thing()
        watched["local"] = weakref.ref(local)
        pause()
        error = Broken()
        watched["error"] = weakref.ref(error)
        try:
            raise error
        finally:
            del error

    async def run() -> None:
        with pytest.raises(Broken):
            await _bridge.run(function)

    await run()

    assert 1 == len(_bridge._idle.carriers)
    assert {"local": None, "error": None} == {name: ref() for name, ref in watched.items()}


@pytest.mark.usefixtures("_no_garbage_collection")
async def test_the_number_of_kept_greenlets_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Greenlets of a burst that are too many to keep are gone when their runs end."""
    monkeypatch.setattr(_bridge, "MAX_IDLE_CARRIERS", 3)
    watched = []

    def function() -> None:
        watched.append(weakref.ref(getcurrent()))
        pause()

    for _ in range(2):
        await asyncio.gather(*(_bridge.run(function) for _ in range(10)))

    assert 20 == len(watched)
    assert set(_bridge._idle.carriers) == {ref() for ref in watched} - {None}
    assert 3 == len(_bridge._idle.carriers)


def test_each_thread_keeps_its_own_greenlets() -> None:
    """A greenlet cannot change its thread, and those of a thread end with it."""
    watched: list[weakref.ref[Any]] = []

    def function() -> None:
        watched.append(weakref.ref(getcurrent()))
        pause()

    async def run() -> None:
        await _bridge.run(function)

    asyncio.run(run())
    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    thread.join()

    assert [True, False] == [ref() in _bridge._idle.carriers for ref in watched]
    assert watched[1]() is None
