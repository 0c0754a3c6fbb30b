"""Wait in one thread for what is done on another thread's loop.

The pool's threads and the callers outside of any request both cross over here.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Awaitable, Callable
from contextvars import Context, copy_context
from typing import TypeVar, cast

from . import _bridge

__all__ = ("wait_on",)

T = TypeVar("T")

_MISSING = object()


def wait_on(
    loop: asyncio.AbstractEventLoop,
    post: Callable[..., object],
    awaitable: Awaitable[T],
    started: Callable[[asyncio.Task[T]], None],
    context: Context | None = None,
) -> T:
    """Block the calling thread until *awaitable* is done on *loop*, and return its result.

    The awaitable runs in a task of its own, in a greenlet, so that synchronous code below it may
    wait in its turn. It sees the caller's context variables, and the caller sees its changes.

    Args:
        post: ``call_soon_threadsafe`` of the loop, or what does the same.
        started: Called on the loop with the task as soon as there is one.
        context: In which to run it; a fresh one by default. Work that waits more than once keeps
            one, since a token of a context variable is good in the context that made it only.
    """
    own = copy_context()
    context = own if context is None else _carry_over(own, context)
    # Not its repr: that of a database query may run the query, and could fail on the loop.
    name = getattr(awaitable, "__qualname__", type(awaitable).__qualname__)
    done = threading.Lock()
    done.acquire()
    outcome: list[asyncio.Task[T]] = []

    async def carry() -> T:
        return await _bridge.run_in(context, lambda: _wait_below_carrier(awaitable))

    def start() -> None:
        task = loop.create_task(carry(), name=f"await_: {name}")
        started(task)
        task.add_done_callback(finish)

    def finish(task: asyncio.Task[T]) -> None:
        outcome.append(task)
        done.release()

    post(start)
    done.acquire()
    if inspect.iscoroutine(awaitable):
        awaitable.close()  # a task cancelled before its first step has never touched it

    for variable, value in context.items():
        if variable.get(_MISSING) is not value:
            variable.set(value)
    return outcome.pop().result()


def _carry_over(source: Context, target: Context) -> Context:
    """Give each variable in *target* the value that it has in *source*, and return *target*."""
    changed = [(v, value) for v, value in source.items() if target.get(v, _MISSING) is not value]
    if changed:
        target.run(lambda: [variable.set(value) for variable, value in changed])
    return target


def _wait_below_carrier(awaitable: Awaitable[T]) -> T:
    return cast("_bridge.Carrier", _bridge.current_carrier()).wait(awaitable)
