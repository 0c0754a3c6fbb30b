"""Errors and cancellation pass through every layer of a run."""

from __future__ import annotations

import asyncio
import contextlib
import traceback
from collections.abc import Callable
from typing import Any

import pytest
from greenlet import GreenletExit

from flask_aiohttp import _bridge, await_


class Broken(Exception):
    """Raised by tests."""


def pause() -> None:
    """Wait for one turn of the loop."""
    await_(asyncio.sleep(0))


async def start(function: Callable[[], Any]) -> asyncio.Task[Any]:
    """Return a task that runs *function* and waits in it."""
    task = asyncio.create_task(_bridge.run(function))
    await asyncio.sleep(0)
    return task


async def test_an_error_passes_through_every_layer_with_its_frames() -> None:
    """An error keeps its type, and its traceback names each function of the user's, in order."""

    def view() -> None:
        await_(asynchronous())

    async def asynchronous() -> None:
        await asyncio.sleep(0)
        helper()

    def helper() -> None:
        await_(query())

    async def query() -> None:
        await asyncio.sleep(0)
        raise Broken("no database")

    with pytest.raises(Broken, match="no database") as caught:
        await _bridge.run(view)

    names = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
    ours = ["view", "asynchronous", "helper", "query"]
    assert ours == [name for name in names if name in ours]


async def test_an_error_can_be_handled_in_any_layer() -> None:
    """Synchronous code catches what its coroutine raises, and goes on waiting."""

    async def query() -> None:
        await asyncio.sleep(0)
        raise Broken

    def function() -> str:
        with contextlib.suppress(Broken):
            await_(query())
        return await_(asyncio.sleep(0, "went on"))

    assert "went on" == await _bridge.run(function)


async def test_a_run_after_a_failed_one_is_not_touched_by_it() -> None:
    """The greenlet of a run that failed serves the next one."""

    def fail() -> None:
        pause()
        raise Broken

    with pytest.raises(Broken):
        await _bridge.run(fail)

    assert "fine" == await _bridge.run(lambda: await_(asyncio.sleep(0, "fine")))


@pytest.mark.parametrize(
    ("raised", "expected", "message"),
    [
        (SystemExit(4), RuntimeError, r"called sys\.exit\(4\)"),
        (StopIteration("end"), RuntimeError, "raised StopIteration"),
        (GreenletExit("gone"), GreenletExit, "gone"),
        (GeneratorExit("gone"), GeneratorExit, "gone"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
async def test_an_error_with_a_meaning_of_its_own_ends_only_its_run(
    raised: BaseException, expected: type[BaseException], message: str
) -> None:
    """What would end a process, an iteration or a greenlet is an error of this run."""

    def function() -> None:
        pause()
        raise raised

    with pytest.raises(expected, match=message) as caught:
        await _bridge.run(function)

    assert raised in (caught.value, caught.value.__cause__)
    assert "fine" == await _bridge.run(lambda: await_(asyncio.sleep(0, "fine")))


async def test_what_cannot_be_awaited_is_refused() -> None:
    """Waiting for a plain object is a TypeError."""
    with pytest.raises(TypeError, match="int"):
        await _bridge.run(lambda: await_(42))  # type: ignore[arg-type]


async def test_cancellation_unwinds_synchronous_code() -> None:
    """CancelledError is raised where the innermost code waits, and passes all layers."""
    seen = []

    def function() -> None:
        try:
            await_(asynchronous())
        finally:
            seen.append("outer sync")

    async def asynchronous() -> None:
        try:
            inner()
        finally:
            seen.append("async")

    def inner() -> None:
        try:
            await_(asyncio.Event().wait())
        except asyncio.CancelledError:
            seen.append("inner sync")
            raise

    task = await start(function)
    task.cancel()
    await asyncio.wait({task})

    assert task.cancelled()
    assert ["inner sync", "async", "outer sync"] == seen


async def test_a_cancelled_run_may_wait_in_its_finally_block() -> None:
    """Cleaning up may take its time: the cancellation goes on afterwards."""
    cleaned = []

    def function() -> None:
        try:
            await_(asyncio.Event().wait())
        finally:
            cleaned.append(await_(asyncio.sleep(0.001, "cleaned")))

    task = await start(function)
    task.cancel()
    await asyncio.wait({task})

    assert task.cancelled()
    assert ["cleaned"] == cleaned


async def test_a_run_may_refuse_to_be_cancelled() -> None:
    """Synchronous code that handles CancelledError returns as it would in a coroutine."""

    def function() -> str:
        try:
            await_(asyncio.Event().wait())
        except asyncio.CancelledError:
            return await_(asyncio.sleep(0, "stayed"))
        return "not cancelled"

    task = await start(function)
    task.cancel()

    assert "stayed" == await task


async def test_a_closed_coroutine_unwinds_synchronous_code() -> None:
    """A run whose coroutine is closed while it waits runs its finally blocks."""
    seen = []

    def function() -> None:
        try:
            await_(asyncio.get_running_loop().create_future())
        except BaseException as error:
            seen.append(type(error))
            raise

    run = _bridge.run(function)
    run.send(None)
    run.close()

    assert [GeneratorExit] == seen
    assert "fine" == await _bridge.run(lambda: await_(asyncio.sleep(0, "fine")))
