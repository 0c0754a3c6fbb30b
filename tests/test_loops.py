"""Loops that end."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading

import pytest

from flask_aiohttp._loops import DaemonExecutor, close, lend_daemons


def run(main):
    loop = lend_daemons(asyncio.new_event_loop())
    try:
        return loop.run_until_complete(main())
    finally:
        close(loop)


def test_calls_run_in_daemon_threads_and_hand_back_results_and_errors():
    """``asyncio.to_thread()`` works as ever, in threads that hold nobody."""

    async def main():
        assert await asyncio.to_thread(lambda: threading.current_thread().daemon)
        with pytest.raises(ZeroDivisionError):
            await asyncio.to_thread(lambda: 1 // 0)
        return await asyncio.gather(*(asyncio.to_thread(abs, -n) for n in range(100)))

    assert list(range(100)) == run(main)


def test_calls_run_beside_each_other():
    """Five calls meet at a barrier."""
    barrier = threading.Barrier(5)

    async def main():
        await asyncio.gather(*(asyncio.to_thread(barrier.wait, 20) for _ in range(5)))

    run(main)


def test_executor_that_was_shut_down_takes_nothing_on():
    """It says so as the standard one does."""
    executor = DaemonExecutor()
    executor.submit(int).result()
    executor.shutdown()

    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.submit(int)


def test_cancelled_call_is_not_begun():
    """What is cancelled while all threads are busy never runs."""
    executor = DaemonExecutor()
    release = threading.Event()
    ran = []
    busy = [executor.submit(release.wait, 20) for _ in range(executor._size)]
    waiting = executor.submit(ran.append, "called")

    assert waiting.cancel()
    release.set()
    for future in busy:
        future.result()
    executor.submit(int).result()
    executor.shutdown()

    assert [] == ran


def test_call_that_never_ends_does_not_hold_the_process():
    """The interpreter exits while ``asyncio.to_thread()`` is still busy."""
    program = (
        "import asyncio, time\n"
        "from flask_aiohttp._loops import close, lend_daemons\n"
        "async def main():\n"
        "    asyncio.ensure_future(asyncio.to_thread(time.sleep, 1000))\n"
        "    await asyncio.sleep(0.1)\n"
        "loop = lend_daemons(asyncio.new_event_loop())\n"
        "loop.run_until_complete(main())\n"
        "close(loop)\n"
    )

    assert 0 == subprocess.run([sys.executable, "-c", program], timeout=20).returncode


def test_close_cancels_what_is_left():
    """A task that nobody awaited learns of the end."""
    ended, tasks = [], []

    async def endless():
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("ended")

    async def main():
        tasks.append(asyncio.ensure_future(endless()))
        await asyncio.sleep(0)

    run(main)

    assert ["ended"] == ended
