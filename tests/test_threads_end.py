"""What is left when work has ended, when the pool stops, and when its loop is gone."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Generator
from contextvars import ContextVar
from typing import Any

import pytest
from harness import PATIENCE, eventually

from flask_aiohttp import await_
from flask_aiohttp._threads import ThreadPool

variable: ContextVar[Any] = ContextVar("variable", default="nothing")


class Thing:
    """Something that can be watched with a weak reference."""


class Broken(Exception):
    """Raised by tests; can be watched with a weak reference."""


class Awaitable:
    """Awaits nothing; unlike a coroutine it may be left unawaited."""

    def __await__(self) -> Generator[Any, Any, None]:
        yield from ()


@pytest.mark.parametrize("fails", [False, True], ids=["result", "error"])
async def test_an_idle_thread_holds_nothing_of_its_last_work(fails: bool) -> None:
    """Function, result, error and context variables of a work die while its thread rests."""
    watched: dict[str, weakref.ref[Any]] = {}

    async def run(pool: ThreadPool) -> None:
        argument, local = Thing(), Thing()
        variable.set(argument)

        def function() -> Thing:
            await_(asyncio.sleep(0))
            variable.set(local)
            outcome: Any = Broken() if fails else Thing()
            watched["outcome"] = weakref.ref(outcome)
            try:
                if fails:
                    raise outcome
                return outcome
            finally:
                del outcome

        for name, value in (("function", function), ("argument", argument), ("local", local)):
            watched[name] = weakref.ref(value)
        with pytest.raises(Broken) if fails else contextlib.nullcontext():
            await pool.run(function)

    pool = ThreadPool(1)
    gc.disable()
    try:
        await asyncio.create_task(run(pool))
        [thread] = pool.threads
        await eventually(
            lambda: not [name for name, ref in watched.items() if ref() is not None],
            "all that belonged to the work to die",
        )
    finally:
        gc.enable()
        pool.stop()

    assert {"argument", "function", "local", "outcome"} == set(watched)
    await eventually(lambda: not thread.is_alive(), "the thread to end")


async def test_a_stop_lets_busy_threads_end_their_work() -> None:
    """Idle threads end at once, a busy one after its work, whose result still arrives."""
    ready, go_on = threading.Event(), threading.Event()
    pool = ThreadPool(2)
    barrier = threading.Barrier(2)
    await asyncio.gather(*(pool.run(lambda: barrier.wait(PATIENCE)) for _ in range(2)))
    threads = list(pool.threads)

    work = asyncio.create_task(pool.run(lambda: (ready.set(), go_on.wait(PATIENCE))))
    await eventually(ready.is_set, "the work to begin")
    pool.stop()
    await eventually(
        lambda: [True] == [thread.is_alive() for thread in threads if thread.is_alive()],
        "the idle thread to end",
    )
    busy = not work.done()
    go_on.set()

    assert busy
    assert (None, True) == await work
    await eventually(lambda: not any(t.is_alive() for t in threads), "the other to end")


def leave_busy(loop: asyncio.AbstractEventLoop, function: Callable[[], Any]) -> threading.Thread:
    """Have a thread do *function*, give that up, and close the loop."""

    async def main() -> threading.Thread:
        ready = threading.Event()
        pool = ThreadPool(1)
        task = asyncio.create_task(pool.run(lambda: (ready.set(), function())))
        await eventually(ready.is_set, "the work to begin")
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        [thread] = pool.threads
        return thread

    try:
        return loop.run_until_complete(main())
    finally:
        loop.close()


def test_a_thread_whose_loop_is_closed_ends_in_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    """A result that comes after the loop's end is dropped; the thread reports no error."""
    reports: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", reports.append)
    go_on = threading.Event()

    thread = leave_busy(asyncio.new_event_loop(), lambda: go_on.wait(PATIENCE))
    go_on.set()
    thread.join(PATIENCE)

    assert not thread.is_alive()
    assert [] == reports


def test_a_wait_on_a_closed_loop_is_an_error_each_time() -> None:
    """Work that outlives its loop is told so; it does not block for ever."""
    go_on = threading.Event()
    errors = []

    def function() -> None:
        go_on.wait(PATIENCE)
        for _ in range(2):
            with pytest.raises(RuntimeError, match="closed") as caught:
                await_(Awaitable())
            errors.append(caught.value)

    thread = leave_busy(asyncio.new_event_loop(), function)
    go_on.set()
    thread.join(PATIENCE)

    assert not thread.is_alive()
    assert 2 == len(errors)


def test_a_view_that_never_ends_does_not_hold_the_process() -> None:
    """The threads are daemons: Python leaves without them."""
    program = """
import asyncio, threading
from flask_aiohttp._threads import ThreadPool

async def main():
    ready = threading.Event()
    pool = ThreadPool(1)
    task = asyncio.create_task(pool.run(lambda: (ready.set(), threading.Event().wait())))
    while not ready.is_set():
        await asyncio.sleep(0.001)

asyncio.run(main())
print("left")
"""
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=PATIENCE
    )

    assert (0, "left\n", "") == (ended.returncode, ended.stdout, ended.stderr)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_child_forked_by_a_pool_thread_can_wait() -> None:
    """The pool's loop does not run in the child: it waits on a background loop of its own."""
    program = """
import asyncio, os, warnings
from flask_aiohttp import await_
from flask_aiohttp._threads import ThreadPool

warnings.simplefilter("ignore", DeprecationWarning)  # forking with threads, as here

def view():
    if pid := os.fork():
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    os._exit(await_(asyncio.sleep(0, 7)))

async def main():
    print("child:", await ThreadPool(1).run(view))

asyncio.run(main())
"""
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=PATIENCE
    )

    assert (0, "child: 7\n", "") == (ended.returncode, ended.stdout, ended.stderr)
