"""Work that outlives its request: each task has a name, an owner and an end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextvars import Context, copy_context
from typing import Any, TypeVar

from flask import Flask, copy_current_request_context

from . import _bridge
from ._waiting import await_, current_loop

__all__ = ("Tasks",)

T = TypeVar("T")

# They are private; their names are pinned by a test.
_FLASK_VARIABLES = frozenset({"flask.app_ctx", "flask.request_ctx"})


class Tasks:
    """The background tasks of one application."""

    def __init__(self, app: Flask) -> None:
        self._app = app
        self._running: set[asyncio.Task[Any]] = set()

    def __iter__(self) -> Iterator[asyncio.Task[Any]]:
        return iter(tuple(self._running))

    def __len__(self) -> int:
        return len(self._running)

    def create(
        self, coroutine: Coroutine[Any, Any, T], name: str | None, *, request_context: bool
    ) -> asyncio.Task[T]:
        """Start a task from any thread, on the loop where the caller's ``await_()`` works.

        Raises:
            TypeError: *coroutine* is none.
            RuntimeError: A request's context is wanted where there is none.
        """
        if not isinstance(coroutine, Coroutine):
            raise TypeError(
                f"create_task() needs a coroutine, as in create_task(work()), not {coroutine!r}"
            )

        def work() -> T:
            return await_(coroutine)

        if request_context:
            try:
                work = copy_current_request_context(work)
            except RuntimeError:
                coroutine.close()  # else Python says that it was never awaited
                raise
        else:
            work = _in_context_of(self._app, work)
        context = _without_flask(copy_context())

        def start() -> asyncio.Task[T]:
            return context.run(self._start, coroutine, work, name)

        async def start_there() -> asyncio.Task[T]:
            return start()

        return start() if _runs_here(current_loop()) else await_(start_there())

    def _start(
        self, coroutine: Coroutine[Any, Any, T], work: Callable[[], T], name: str | None
    ) -> asyncio.Task[T]:
        name = name or getattr(coroutine, "__qualname__", None)
        # In a greenlet, so that synchronous code below it may wait.
        task = asyncio.get_running_loop().create_task(_bridge.run(work), name=name)
        self._running.add(task)
        task.add_done_callback(self._finished)
        # A task that is cancelled before its first step has never touched it.
        task.add_done_callback(lambda _: coroutine.close())
        return task

    def of_this_loop(self) -> set[asyncio.Task[Any]]:
        """Return the tasks of the running loop that have not ended."""
        loop = asyncio.get_running_loop()
        return {task for task in self._running if task.get_loop() is loop}

    async def finish(self, timeout: float) -> None:
        """Wait for this loop's tasks, *timeout* seconds at most, then cancel those left."""
        deadline = asyncio.get_running_loop().time() + timeout
        while running := self.of_this_loop():  # one may have started others
            remaining = deadline - asyncio.get_running_loop().time()
            if remaining <= 0:
                break
            await asyncio.wait(running, timeout=remaining)
        for task in running:
            self._app.logger.warning("the task %r was cancelled at the stop", task.get_name())
            task.cancel()
        if running:
            await asyncio.wait(running, timeout=1)

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._app.logger.error("the task %r failed", task.get_name(), exc_info=error)


def _in_context_of(app: Flask, work: Callable[[], T]) -> Callable[[], T]:
    def work_in_context() -> T:
        with app.app_context():
            return work()

    return work_in_context


def _without_flask(context: Context) -> Context:
    """Return a context with the same variables, except Flask's own.

    A request is over before its task is: what is ``request`` or ``g`` in the one must not be found
    in the other, nor be kept by it.
    """
    bare = Context()
    for variable, value in context.items():
        if variable.name not in _FLASK_VARIABLES:
            bare.run(variable.set, value)
    return bare


def _runs_here(loop: asyncio.AbstractEventLoop) -> bool:
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False
