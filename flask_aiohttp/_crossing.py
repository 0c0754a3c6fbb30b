"""Wait in one thread for what is done on another thread's loop.

The pool's threads and the callers outside of any request both cross over here.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import threading
from collections.abc import Awaitable, Callable
from contextvars import Context, ContextVar, Token, copy_context
from typing import Any, TypeVar, cast

from . import _bridge

__all__ = ("WaitContext", "wait_on")

T = TypeVar("T")

_MISSING = object()


class WaitContext:
    """The context in which one piece of work waits, kept in step with that of its thread.

    All waits of the work share it, since a token is good in the context that made it only.
    """

    def __init__(self) -> None:
        self.context = Context()

        # What takes a variable away again that one side has from the other, and did not have
        # before: the other may reset it to no value at all.
        self._taken: dict[ContextVar[Any], Token[Any]] = {}
        self._given_back: dict[ContextVar[Any], Token[Any]] = {}

    def take_over(self) -> None:
        """Make the variables of the calling thread those of the wait."""
        self.context.run(_follow, copy_context(), self._taken)

    def give_back(self) -> None:
        """Make the variables of the wait those of the calling thread."""
        _follow(self.context, self._given_back)


def _follow(source: Context, tokens: dict[ContextVar[Any], Token[Any]]) -> None:
    """Make the current context equal to *source*, as far as that is possible."""
    here = copy_context()
    for variable, value in source.items():
        if here.get(variable, _MISSING) is not value:
            token = variable.set(value)
            if variable not in here:
                tokens[variable] = token
    for variable in [each for each in tokens if each not in source]:
        # A thread that waits from within a context of its own has another one this time.
        with contextlib.suppress(ValueError):
            variable.reset(tokens.pop(variable))


def wait_on(
    loop: asyncio.AbstractEventLoop,
    post: Callable[..., object],
    awaitable: Awaitable[T],
    started: Callable[[asyncio.Task[T]], None],
    variables: WaitContext | None = None,
) -> T:
    """Block the calling thread until *awaitable* is done on *loop*, and return its result.

    The awaitable runs in a task of its own, in a greenlet, so that synchronous code below it may
    wait in its turn. It sees the caller's context variables, and the caller sees its changes.

    Args:
        post: ``call_soon_threadsafe`` of the loop, or what does the same.
        started: Called on the loop with the task as soon as there is one.
        variables: Those of work that waits more than once.
    """
    variables = variables or WaitContext()
    variables.take_over()
    context = variables.context
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

    variables.give_back()
    return outcome.pop().result()


def _wait_below_carrier(awaitable: Awaitable[T]) -> T:
    return cast("_bridge.Carrier", _bridge.current_carrier()).wait(awaitable)
