"""Work that outlives its request: each task has a name, an owner and an end."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from flask import Flask

from . import _bridge
from ._waiting import await_

__all__ = ("Tasks",)

T = TypeVar("T")


class Tasks:
    """The background tasks of one application."""

    def __init__(self, app: Flask) -> None:
        self._app = app
        self._running: set[asyncio.Task[Any]] = set()

    def __iter__(self) -> Any:
        return iter(tuple(self._running))

    def __len__(self) -> int:
        return len(self._running)

    def start(self, coroutine: Coroutine[Any, Any, T], name: str | None) -> asyncio.Task[T]:
        """Run *coroutine* on the running loop, with an application context of its own."""
        name = name or getattr(coroutine, "__qualname__", None)
        task = asyncio.get_running_loop().create_task(self._in_context(coroutine), name=name)
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
        running = self.of_this_loop()
        if not running:
            return
        _, late = await asyncio.wait(running, timeout=timeout)
        for task in late:
            self._app.logger.warning("the task %r was cancelled at the stop", task.get_name())
            task.cancel()
        if late:
            await asyncio.wait(late, timeout=1)

    async def _in_context(self, coroutine: Coroutine[Any, Any, T]) -> T:
        with self._app.app_context():
            # In a greenlet, so that synchronous code below it may wait.
            return await _bridge.run(lambda: await_(coroutine))

    def _finished(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._app.logger.error("the task %r failed", task.get_name(), exc_info=error)
