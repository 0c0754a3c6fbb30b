"""The one way in which synchronous code waits.

============================  ==========================================================
where ``await_()`` is called  what waits
============================  ==========================================================
in a greenlet on the loop     this greenlet; the loop goes on
in a thread of the pool       this thread; the work is done on the pool's loop
on the loop's bare stack      nobody: :exc:`BridgeRequired`
the same, in ``hold_up()``    this thread; the work is done on one background loop
anywhere else                 this thread; the work is done on one background loop
============================  ==========================================================
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import threading
from collections.abc import Awaitable, Coroutine, Iterator
from typing import TypeVar

from . import _background, _bridge, _threads
from .exceptions import BridgeRequired

__all__ = ("await_", "current_loop", "hold_up", "is_being_cancelled")

T = TypeVar("T")


class _Thread(threading.local):
    """What is known of the calling thread."""

    # True while the loop that runs in it stands still anyway.
    holds_up = False


_thread = _Thread()


def await_(awaitable: Awaitable[T]) -> T:
    """Wait for *awaitable* from synchronous code, and return its result.

    Works anywhere below a request: in a sync view, a hook, a template filter, a callback of an
    extension; and outside of one, in scripts and tests.

    Args:
        awaitable: A coroutine, future, task or other object with ``__await__``.

    Raises:
        BridgeRequired: The caller runs on the event loop itself, in a coroutine or a callback.
            A coroutine is closed, so that it is not reported as never awaited.
        TypeError: *awaitable* cannot be awaited.
    """
    carrier = _bridge.current_carrier()
    if carrier is not None:
        return carrier.wait(awaitable)

    if not inspect.isawaitable(awaitable):
        raise TypeError(f"await_() needs something to await, not {awaitable!r}")

    # Before the pool's threads: a view may run a loop of its own in one, which must not stand
    # still either.
    if _loop_runs_here() and not _thread.holds_up:
        # What wraps a coroutine, as aiohttp's session.get() does, is one of these too.
        if isinstance(awaitable, Coroutine):
            awaitable.close()
        raise BridgeRequired(awaitable)

    work = _threads.current_work()
    return _background.wait(awaitable) if work is None else work.wait(awaitable)


def current_loop() -> asyncio.AbstractEventLoop:
    """Return the loop on which :func:`await_` would work, from any thread."""
    work = _threads.current_work()
    if work is not None:
        return work.pool.loop
    if _thread.holds_up and _bridge.current_carrier() is None:
        return _background.background_loop()
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return _background.background_loop()


@contextlib.contextmanager
def hold_up() -> Iterator[None]:
    """Let :func:`await_` wait although a loop runs in this thread: the caller holds that up anyway.

    For synchronous clients in ``async def`` tests.
    """
    before, _thread.holds_up = _thread.holds_up, True
    try:
        yield
    finally:
        _thread.holds_up = before


def is_being_cancelled() -> bool:
    """Return True if the running task was cancelled, and not only something that it awaited.

    Python 3.10 cannot tell, and says True.
    """
    cancelling = getattr(asyncio.current_task(), "cancelling", None)
    return cancelling is None or bool(cancelling())


def _loop_runs_here() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
