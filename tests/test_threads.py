"""Synchronous work runs in threads, waits there, and reports to the loop in batches."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
import traceback
from collections.abc import Callable, Generator, Iterator
from contextvars import ContextVar, copy_context
from typing import Any

import pytest
from harness import PATIENCE, eventually, wait_for

from flask_aiohttp import _threads, await_
from flask_aiohttp._threads import ThreadPool

variable: ContextVar[str] = ContextVar("variable", default="nothing")


class Broken(Exception):
    """Raised by tests."""


@contextlib.contextmanager
def a_pool(size: int = 1) -> Iterator[ThreadPool]:
    """Give a pool, and see that its threads end."""
    pool = ThreadPool(size)
    try:
        yield pool
    finally:
        threads = tuple(pool.threads)
        pool.stop()
        for thread in threads:
            thread.join(PATIENCE)
    assert not any(thread.is_alive() for thread in threads)


def fail() -> None:
    raise Broken("no database")


async def test_work_returns_what_its_function_returns() -> None:
    """The function runs in a thread of the pool, a daemon, and its result comes back."""
    with a_pool() as pool:
        thread = await pool.run(threading.current_thread)

        assert [thread] == pool.threads
        assert thread.daemon
        assert "flask-aiohttp-0" == thread.name


async def test_an_error_keeps_its_type_and_frames() -> None:
    """What the function raises is raised to the caller, and leads to the user's code."""
    with a_pool() as pool:
        with pytest.raises(Broken, match="no database") as caught:
            await pool.run(fail)

        frames = traceback.extract_tb(caught.value.__traceback__)
        assert "fail" == frames[-1].name
        assert 1 == await pool.run(lambda: 1)


async def test_an_error_of_what_is_awaited_is_raised_in_the_thread() -> None:
    """The work catches it, with the frames of the coroutine, and goes on."""

    async def query() -> None:
        await asyncio.sleep(0)
        fail()

    def function() -> list[str]:
        with pytest.raises(Broken) as caught:
            await_(query())
        return [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]

    with a_pool() as pool:
        names = await pool.run(function)

    assert ["query", "fail"] == names[-2:]


async def test_what_work_waits_for_is_done_on_the_loop() -> None:
    """The coroutine runs on the pool's loop and thread; sync code below it may wait in turn."""
    loop, thread = asyncio.get_running_loop(), threading.current_thread()

    async def asynchronous() -> tuple[bool, bool]:
        await_(asyncio.sleep(0))
        return asyncio.get_running_loop() is loop, threading.current_thread() is thread

    with a_pool() as pool:
        places = await pool.run(lambda: await_(asynchronous()))

    assert (True, True) == places


async def test_context_variables_travel_there_and_back() -> None:
    """A thread sees the caller's, a coroutine the thread's, and the thread the coroutine's."""
    variable.set("caller")
    seen = []

    async def asynchronous() -> None:
        seen.append(variable.get())
        await asyncio.sleep(0)
        variable.set("coroutine")

    def function() -> None:
        seen.append(variable.get())
        variable.set("thread")
        await_(asynchronous())
        seen.append(variable.get())

    with a_pool() as pool:
        await pool.run(function)

    assert ["caller", "thread", "coroutine"] == seen
    assert "caller" == variable.get()


async def test_a_given_context_is_used_and_kept() -> None:
    """Work changes the very context that it is given."""
    context = copy_context()

    with a_pool() as pool:
        await pool.run(lambda: variable.set("set"), context)

    assert "set" == context[variable]


async def test_threads_start_as_they_are_needed() -> None:
    """Work that comes one by one is done by one thread, work at once by as many as allowed."""
    with a_pool(3) as pool:
        for _ in range(5):
            await pool.run(int)
        one_by_one = len(pool.threads)
        barrier = threading.Barrier(3)
        await asyncio.gather(*(pool.run(lambda: barrier.wait(PATIENCE)) for _ in range(3)))

        assert (1, 3) == (one_by_one, len(pool.threads))


async def test_more_work_than_threads_is_done_in_turn() -> None:
    """What finds no thread waits for one, first come, first served."""
    begun = []
    begin = threading.Event()

    def function(number: int) -> int:
        begin.wait(PATIENCE)
        begun.append(number)
        return number

    with a_pool(1) as pool:
        work = asyncio.gather(*(pool.run(lambda n=n: function(n)) for n in range(10)))
        await asyncio.sleep(0)
        pending = pool.pending
        begin.set()

        assert 10 == pending
        assert list(range(10)) == await work == begun
        assert 1 == len(pool.threads)
        assert 0 == pool.pending


async def test_threads_that_end_together_wake_the_loop_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """However many results come while the loop is busy, it is called once for all."""
    loop = asyncio.get_running_loop()
    calls = []
    begin, barrier = threading.Event(), threading.Barrier(9)

    def function() -> None:
        barrier.wait(PATIENCE)
        begin.wait(PATIENCE)

    with a_pool(8) as pool:
        work = asyncio.gather(*(pool.run(function) for _ in range(8)))
        await asyncio.sleep(0)
        barrier.wait(PATIENCE)
        call = loop.call_soon_threadsafe
        monkeypatch.setattr(
            loop, "call_soon_threadsafe", lambda *args: (calls.append(args), call(*args))
        )
        begin.set()
        wait_for(lambda: len(pool._inbox) == 8, "all results, while the loop stands still")
        await work

    assert 1 == len(calls)


async def test_calls_of_one_thread_are_made_in_order() -> None:
    """What a thread posts reaches the loop in the order of its calls."""
    calls: list[int] = []

    with a_pool() as pool:
        await pool.run(lambda: [pool.post(calls.append, number) for number in range(1000)])

    assert list(range(1000)) == calls


async def test_a_posted_call_that_fails_holds_up_no_other() -> None:
    """Its error goes to the loop's exception handler, and the calls after it are made."""
    reports: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, report: reports.append(report))

    with a_pool() as pool:
        work = asyncio.ensure_future(pool.run(lambda: pool.post(fail) or "done"))
        await asyncio.sleep(0)
        wait_for(lambda: len(pool._inbox) == 2, "both calls, while the loop stands still")

        assert "done" == await work
    assert [Broken] == [type(report["exception"]) for report in reports]


async def cancel_while(
    pool: ThreadPool, function: Callable[[], Any], ready: threading.Event
) -> None:
    """Run *function*, and cancel that once it is *ready*."""
    task = asyncio.create_task(pool.run(function))
    await eventually(ready.is_set, "the work to begin")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_cancelled_work_stops_waiting() -> None:
    """CancelledError is raised where the thread waits, and in what it waits for."""
    ready, ended = threading.Event(), threading.Event()
    seen = []

    async def asynchronous() -> None:
        ready.set()
        try:
            await asyncio.Event().wait()
        finally:
            seen.append("coroutine")

    def function() -> None:
        try:
            await_(asynchronous())
        except asyncio.CancelledError:
            seen.append("thread")
            raise
        finally:
            ended.set()

    with a_pool() as pool:
        await cancel_while(pool, function, ready)
        await eventually(ended.is_set, "the thread to learn of it")

    assert ["coroutine", "thread"] == seen


@pytest.mark.parametrize("at_once", [False, True], ids=["waits", "ends-at-once"])
async def test_work_cancelled_while_busy_learns_of_it_at_its_next_wait(at_once: bool) -> None:
    """A busy thread is let be; the first wait that takes time is cancelled, and no other."""
    ready, go_on, ended = (threading.Event() for _ in range(3))
    waits: list[str] = []

    async def nothing() -> None:
        waits.append("ended at once")

    def function() -> None:
        ready.set()
        go_on.wait(PATIENCE)
        if at_once:
            await_(nothing())
        try:
            await_(asyncio.Event().wait())
        except asyncio.CancelledError:
            waits.append("cancelled")
        waits.append(await_(asyncio.sleep(0, "cleaned up")))
        ended.set()

    with a_pool() as pool:
        await cancel_while(pool, function, ready)
        go_on.set()
        await eventually(ended.is_set, "the thread to end its work")

    assert ["ended at once"] * at_once + ["cancelled", "cleaned up"] == waits


async def test_work_cancelled_before_a_thread_takes_it_is_never_begun() -> None:
    """Nobody wants its result; the thread goes on with the next."""
    begun = []
    ready, go_on = threading.Event(), threading.Event()

    with a_pool() as pool:
        first = asyncio.create_task(pool.run(lambda: (ready.set(), go_on.wait(PATIENCE))))
        await eventually(ready.is_set, "the only thread to be busy")
        second = asyncio.create_task(pool.run(lambda: begun.append("second")))
        third = asyncio.create_task(pool.run(lambda: begun.append("third")))
        await asyncio.sleep(0)
        second.cancel()
        await asyncio.wait({second})
        go_on.set()
        await asyncio.gather(first, third)

        assert ["third"] == begun
        assert 0 == pool.pending


@pytest.mark.parametrize("where", ["thread", "coroutine"])
async def test_sys_exit_is_an_error_of_the_application(where: str) -> None:
    """It would end the process without a drain; the caller gets a RuntimeError instead."""

    async def asynchronous() -> None:
        sys.exit("no licence")

    def function() -> None:
        await_(asynchronous()) if where == "coroutine" else sys.exit("no licence")

    with a_pool() as pool, pytest.raises(RuntimeError, match=r"sys\.exit\('no licence'\)") as error:
        await pool.run(function)

    assert SystemExit is type(error.value.__cause__)


class Query:
    """Its repr is more than a description, as that of a database query can be."""

    def __repr__(self) -> str:
        raise Broken

    def __await__(self) -> Generator[Any, Any, str]:
        yield from asyncio.sleep(0).__await__()
        return str(asyncio.current_task().get_name())  # type: ignore[union-attr]


async def test_the_task_of_a_wait_is_named_after_what_is_awaited() -> None:
    """The name is the type's; the awaitable's own repr is not asked."""
    with a_pool() as pool:
        name = await pool.run(lambda: await_(Query()))

    assert "await_: Query" == name


async def test_a_thread_that_cannot_be_started_is_not_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The caller gets the error, and later work a thread, once there may be one."""

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with a_pool() as pool:
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refuse)
            with pytest.raises(RuntimeError, match="can't start"):
                await pool.run(int)

        assert ([], 0) == (pool.threads, pool.pending)
        assert 0 == await pool.run(int)


async def test_only_a_thread_of_the_pool_has_work() -> None:
    """The current work is known in its own thread and nowhere else."""
    with a_pool() as pool:
        work = await pool.run(_threads.current_work)
        after = await pool.run(lambda: _threads.current_work() is work)

    assert work is not None
    assert pool is work.pool
    assert not after
    assert _threads.current_work() is None
