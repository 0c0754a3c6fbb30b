"""``await_()`` waits in the way that fits the place where it is called."""

from __future__ import annotations

import asyncio
import gc
import inspect
import threading
import warnings
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest
from harness import eventually

from flask_aiohttp import BridgeRequired, _bridge, await_
from flask_aiohttp._background import background_loop
from flask_aiohttp._threads import ThreadPool
from flask_aiohttp._waiting import current_loop

NOT_AWAITABLE: Any = 42


async def in_a_greenlet(function: Callable[[], Any]) -> Any:
    return await _bridge.run(function)


async def in_a_pool_thread(function: Callable[[], Any]) -> Any:
    pool = ThreadPool(1)
    try:
        return await pool.run(function)
    finally:
        pool.stop()


async def in_a_thread_of_its_own(function: Callable[[], Any]) -> Any:
    return await asyncio.to_thread(function)


async def on_the_bare_loop(function: Callable[[], Any]) -> Any:
    return function()


async def place() -> tuple[asyncio.AbstractEventLoop, threading.Thread]:
    await asyncio.sleep(0)
    return asyncio.get_running_loop(), threading.current_thread()


@pytest.mark.parametrize("run", [in_a_greenlet, in_a_pool_thread])
async def test_below_a_request_work_is_done_on_the_servers_loop(run: Callable[..., Any]) -> None:
    """In a greenlet and in a pool thread alike, the awaited code runs on the one loop."""
    loop, thread = await run(lambda: await_(place()))

    assert asyncio.get_running_loop() is loop
    assert threading.current_thread() is thread


@pytest.mark.parametrize("run", [in_a_greenlet, in_a_pool_thread, in_a_thread_of_its_own])
async def test_only_the_caller_waits(run: Callable[..., Any]) -> None:
    """The server's loop goes on: here it opens the gate at which the caller waits."""
    at_gate, gate = threading.Event(), threading.Event()

    async def pass_gate() -> str:
        at_gate.set()
        while not gate.is_set():  # noqa: ASYNC110 - the gate belongs to several loops
            await asyncio.sleep(0.001)
        return "passed"

    task = asyncio.create_task(run(lambda: await_(pass_gate())))
    await eventually(at_gate.is_set, "the caller to wait")
    gate.set()

    assert "passed" == await task


async def test_any_other_thread_waits_on_the_background_loop() -> None:
    """A thread that is not the server's knows nothing of its loop."""
    loop, thread = await in_a_thread_of_its_own(lambda: await_(place()))

    assert background_loop() is loop
    assert "flask-aiohttp-background" == thread.name


def test_without_any_loop_the_background_loop_is_used() -> None:
    """In a script or a test, ``await_()`` just waits."""
    loop, thread = await_(place())

    assert background_loop() is loop
    assert threading.current_thread() is not thread


async def test_on_the_bare_loop_a_coroutine_is_refused_and_closed() -> None:
    """The error says what to write instead, and Python reports no coroutine as never awaited."""
    coroutine = place()

    with pytest.raises(BridgeRequired, match=r"write 'await \.\.\.'") as caught:
        await_(coroutine)

    assert inspect.CORO_CLOSED == inspect.getcoroutinestate(coroutine)
    assert coroutine is caught.value.awaitable


async def test_on_the_bare_loop_a_client_request_is_refused_and_closed() -> None:
    """So is a coroutine inside of an object, like that of ``session.get()``."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        async with aiohttp.ClientSession() as session:
            with pytest.raises(BridgeRequired):
                await_(session.get("http://127.0.0.1:1/"))
        gc.collect()

    assert [] == [str(warning.message) for warning in caught]


async def test_on_the_bare_loop_a_future_is_refused_and_left_alone() -> None:
    """It may be somebody else's; it can still be awaited."""
    future: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    with pytest.raises(BridgeRequired):
        await_(future)
    future.set_result("awaited")

    assert "awaited" == await future


@pytest.mark.parametrize(
    "run", [in_a_greenlet, in_a_pool_thread, in_a_thread_of_its_own, on_the_bare_loop]
)
async def test_what_cannot_be_awaited_is_refused_everywhere(run: Callable[..., Any]) -> None:
    """The error is a TypeError that names the object or its type."""
    with pytest.raises(TypeError, match=r"42|int"):
        await run(lambda: await_(NOT_AWAITABLE))


def test_what_cannot_be_awaited_is_refused_without_a_loop() -> None:
    """A caller that forgot to call its function is told so."""
    with pytest.raises(TypeError, match=r"await_\(\) needs something to await, not <function"):
        await_(place)  # type: ignore[arg-type]


@pytest.mark.parametrize("run", [in_a_greenlet, in_a_pool_thread, on_the_bare_loop])
async def test_the_current_loop_of_the_server_is_its_own(run: Callable[..., Any]) -> None:
    """On the loop and below a request, in a greenlet or a thread, it is the running one."""
    assert asyncio.get_running_loop() is await run(current_loop)


async def test_the_current_loop_of_other_threads_is_the_background_loop() -> None:
    """It is the loop on which they would wait."""
    assert background_loop() is await in_a_thread_of_its_own(current_loop)


async def test_loop_of_a_views_own_is_not_held_up_in_a_pool_thread() -> None:
    """A sync view may run a loop of its own; waiting on its bare stack is refused there too."""

    async def main() -> None:
        await_(asyncio.sleep(0))

    def view() -> None:
        with pytest.raises(BridgeRequired):
            asyncio.run(main())

    pool = ThreadPool(1)
    await pool.run(view)
    pool.stop()
