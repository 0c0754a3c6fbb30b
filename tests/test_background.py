"""Outside a served request, all waits of a process meet on one loop in the background."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar

import pytest
from harness import PATIENCE

from flask_aiohttp import BridgeRequired, _background, await_

variable: ContextVar[str] = ContextVar("variable", default="nothing")


async def where() -> tuple[asyncio.AbstractEventLoop, threading.Thread]:
    await asyncio.sleep(0)
    return asyncio.get_running_loop(), threading.current_thread()


def test_every_thread_waits_on_the_same_loop() -> None:
    """Whoever waits, the work is done by one loop in one daemon thread."""
    with ThreadPoolExecutor(1) as executor:
        places = {await_(where()), await_(where()), executor.submit(await_, where()).result()}

    [(loop, thread)] = places
    assert _background.background_loop() is loop
    assert "flask-aiohttp-background" == thread.name
    assert thread.daemon


def test_threads_wait_at_the_same_time() -> None:
    """A wait holds up nobody else's: here each waits for all others."""
    begun: list[int] = []

    async def make() -> asyncio.Event:
        return asyncio.Event()

    all_begun = await_(make())

    async def meet(number: int) -> int:
        begun.append(number)
        if len(begun) == 5:
            all_begun.set()
        await all_begun.wait()
        return number

    with ThreadPoolExecutor(5) as executor:
        numbers = list(executor.map(lambda number: await_(meet(number)), range(5)))

    assert [0, 1, 2, 3, 4] == numbers


def test_what_is_tied_to_a_loop_can_be_kept_between_waits() -> None:
    """A queue that one wait has made and filled is read by the next."""

    async def make() -> asyncio.Queue[str]:
        queue: asyncio.Queue[str] = asyncio.Queue(1)
        await queue.put("kept")
        return queue

    queue = await_(make())
    first = await_(queue.get())
    await_(queue.put("again"))

    assert ("kept", "again") == (first, await_(queue.get()))


def test_sync_code_below_a_wait_can_wait() -> None:
    """Async code that is waited for may call functions that wait in turn."""

    def sync(depth: int) -> int:
        return await_(asynchronous(depth - 1)) + 1 if depth else 0

    async def asynchronous(depth: int) -> int:
        await asyncio.sleep(0)
        return sync(depth)

    assert 10 == sync(10)


def test_context_variables_travel_there_and_back() -> None:
    """The awaited code sees the caller's variables, and the caller its changes."""

    async def asynchronous() -> str:
        before = variable.get()
        await asyncio.sleep(0)
        variable.set("coroutine")
        return before

    def function() -> tuple[str, str]:
        variable.set("caller")
        return await_(asynchronous()), variable.get()

    with ThreadPoolExecutor(1) as executor:
        assert ("caller", "coroutine") == executor.submit(function).result()


def test_an_error_keeps_its_type_and_frames() -> None:
    """What the awaited code raises is raised to the caller, and leads to the user's code."""

    async def query() -> None:
        await asyncio.sleep(0)
        raise LookupError("no such row")

    with pytest.raises(LookupError, match="no such row") as caught:
        await_(query())

    assert "query" == traceback.extract_tb(caught.value.__traceback__)[-1].name


def test_a_callback_of_the_background_loop_may_not_wait() -> None:
    """There too the loop's bare stack must not stand still."""

    async def call_soon() -> BaseException | None:
        done = asyncio.get_running_loop().create_future()

        def callback() -> None:
            try:
                await_(asyncio.sleep(0))
            except BaseException as error:
                done.set_result(error)

        asyncio.get_running_loop().call_soon(callback)
        return await done

    assert isinstance(await_(call_soon()), BridgeRequired)


def test_ctrl_c_cancels_what_is_waited_for() -> None:
    """The interrupted caller leaves no work behind that runs unseen."""
    main = threading.get_ident()
    ended = threading.Event()

    async def wait_for_ever() -> None:
        signal.pthread_kill(main, signal.SIGINT)
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    with pytest.raises(KeyboardInterrupt):
        await_(wait_for_ever())

    assert ended.wait(PATIENCE)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_forked_child_has_a_background_loop_of_its_own() -> None:
    """Threads do not survive a fork: the child begins anew, the parent goes on."""
    program = """
import asyncio, os, warnings
from flask_aiohttp import await_

warnings.simplefilter("ignore", DeprecationWarning)  # forking with threads, as here

async def loop():
    return id(asyncio.get_running_loop())

before = await_(loop())
if pid := os.fork():
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    print("child:", code, "parent:", await_(loop()) == before)
else:
    os._exit(7 if await_(loop()) != before else 8)
"""
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=PATIENCE
    )

    assert (0, "child: 7 parent: True\n", "") == (ended.returncode, ended.stdout, ended.stderr)
