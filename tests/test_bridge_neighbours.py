"""Other greenlets, eager tasks, callbacks and other loops beside a run."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from greenlet import getcurrent, greenlet
from harness import eventually

from flask_aiohttp import BridgeRequired, _bridge, await_


def pause() -> None:
    """Wait for one turn of the loop."""
    await_(asyncio.sleep(0))


async def start(function: Callable[[], Any]) -> asyncio.Task[Any]:
    """Return a task that runs *function* and waits in it."""
    task = asyncio.create_task(_bridge.run(function))
    await asyncio.sleep(0)
    return task


async def test_another_greenlet_on_top_of_a_run_can_wait() -> None:
    """Code that brings its own greenlets, as SQLAlchemy does, waits in both ways."""

    async def spawn(function: Callable[[], Any]) -> Any:
        top = greenlet(function)
        passed = top.switch()
        while not top.dead:
            passed = top.switch(await passed)
        return passed

    def give_to_spawn(awaitable: Awaitable[Any]) -> Any:
        parent = getcurrent().parent
        assert parent is not None
        return parent.switch(awaitable)

    def on_top() -> list[str]:
        return [
            give_to_spawn(asyncio.sleep(0, "theirs")),
            await_(asyncio.sleep(0, "ours")),
            give_to_spawn(asyncio.sleep(0, "theirs again")),
        ]

    def function() -> tuple[list[str], str]:
        return await_(spawn(on_top)), await_(asyncio.sleep(0, "below"))

    result = await _bridge.run(function)

    assert (["theirs", "ours", "theirs again"], "below") == result


async def test_a_cancellation_reaches_a_greenlet_on_top_of_a_run() -> None:
    """It is raised where that greenlet waits, and goes down through its parent."""
    seen = []

    def on_top() -> None:
        try:
            await_(asyncio.Event().wait())
        finally:
            seen.append("top")

    def function() -> None:
        try:
            greenlet(on_top).switch()
        finally:
            seen.append("below")

    task = await start(function)
    task.cancel()
    await asyncio.wait({task})

    assert task.cancelled()
    assert ["top", "below"] == seen


async def test_a_task_begun_in_a_run_stands_on_the_bare_loop() -> None:
    """A task is no part of the run that creates it: its sync code may not wait."""

    async def child() -> None:
        await asyncio.sleep(0)
        pause()

    def function() -> None:
        task = asyncio.ensure_future(child())
        await_(task)

    with pytest.raises(BridgeRequired):
        await _bridge.run(function)


def eager(coroutine: Any) -> asyncio.Task[Any]:
    """Start a task whose first step is taken at once, on the caller's stack."""
    loop = asyncio.get_running_loop()
    task: Callable[..., asyncio.Task[Any]] = asyncio.Task
    return task(coroutine, loop=loop, eager_start=True)


needs_eager_tasks = pytest.mark.skipif(
    sys.version_info < (3, 12), reason="eager tasks are new in 3.12"
)


@needs_eager_tasks
@pytest.mark.parametrize("in_coroutine", [False, True], ids=["sync", "async"])
async def test_an_eager_task_in_a_run_may_not_wait_in_its_stead(in_coroutine: bool) -> None:
    """The task stands on the run's stack but is not the run: waiting there is refused."""

    async def child() -> None:
        pause()

    async def begin() -> asyncio.Task[None]:
        await asyncio.sleep(0)
        return eager(child())

    def function() -> tuple[BaseException | None, str]:
        task = await_(begin()) if in_coroutine else eager(child())
        await_(asyncio.wait({task}))
        return task.exception(), await_(asyncio.sleep(0, "went on"))

    error, rest = await _bridge.run(function)

    assert isinstance(error, BridgeRequired)
    assert "went on" == rest


@needs_eager_tasks
async def test_an_eager_task_in_a_run_may_have_a_run_of_its_own() -> None:
    """A run begun on another's stack goes on from the loop's."""
    order = []

    def inner() -> None:
        order.append("inner begins")
        pause()
        order.append("inner ends")

    def function() -> None:
        task = eager(_bridge.run(inner))
        order.append("outer goes on")
        await_(task)
        order.append("outer ends")

    await _bridge.run(function)

    assert ["inner begins", "outer goes on", "inner ends", "outer ends"] == order


@needs_eager_tasks
async def test_a_run_of_an_eager_task_can_be_cancelled() -> None:
    """The cancellation comes from the loop, and what it waits for then goes there."""
    order = []

    def inner() -> None:
        try:
            await_(asyncio.Event().wait())
        finally:
            pause()
            order.append("inner cleaned up")

    def function() -> None:
        task = eager(_bridge.run(inner))
        task.cancel()
        await_(asyncio.wait({task}))
        order.append("outer goes on")

    await _bridge.run(function)

    assert ["inner cleaned up", "outer goes on"] == order


async def test_a_callback_of_the_loop_is_no_part_of_a_run() -> None:
    """What a run schedules with ``call_soon`` stands on the loop's bare stack."""
    caught = []

    def callback() -> None:
        with pytest.raises(BridgeRequired) as refused:
            pause()
        caught.append(refused.value)

    def function() -> None:
        asyncio.get_running_loop().call_soon(callback)
        pause()

    await _bridge.run(function)
    await eventually(lambda: caught, "the callback")

    assert "cannot wait for <coroutine object sleep" in str(caught[0])


def test_uvloop_is_a_loop_like_any_other() -> None:
    """Waits, timeouts and cancellation work the same on uvloop."""
    uvloop = pytest.importorskip("uvloop")

    timed_out = []

    def function() -> str:
        try:
            await_(asyncio.wait_for(asyncio.Event().wait(), 0.001))
        except asyncio.TimeoutError:
            timed_out.append(True)
        try:
            await_(asyncio.Event().wait())
        except asyncio.CancelledError:
            return await_(asyncio.sleep(0, "cancelled"))
        return "not cancelled"

    async def main() -> str:
        task = await start(function)
        await eventually(lambda: timed_out, "the timeout")
        task.cancel()
        return str(await task)

    loop = uvloop.new_event_loop()
    try:
        result = loop.run_until_complete(main())
    finally:
        loop.close()

    assert "cancelled" == result
