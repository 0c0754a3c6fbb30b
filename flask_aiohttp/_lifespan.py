"""What an application does when a worker starts and stops.

Hooks run on the worker's loop, one after the other, with the application context pushed:
``on_startup`` and the first half of ``lifespan`` in the order of their registration, the second
half and ``on_shutdown`` in the reverse order.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import functools
import inspect
from collections.abc import Callable, Coroutine, Iterable
from contextvars import copy_context
from dataclasses import dataclass
from typing import Any

from flask import Flask
from flask.ctx import AppContext

from . import _bridge
from ._waiting import await_, is_being_cancelled

__all__ = ("Hook", "Kind", "Lifespan")


class Kind(enum.Enum):
    """When a hook runs."""

    STARTUP = enum.auto()
    SHUTDOWN = enum.auto()
    LIFESPAN = enum.auto()


@dataclass(frozen=True)
class Hook:
    """A function of the application and when it is called."""

    kind: Kind
    function: Callable[[], Any]

    def __post_init__(self) -> None:
        if self.kind is Kind.LIFESPAN and not inspect.isasyncgenfunction(self.function):
            raise TypeError(
                f"lifespan() needs an async generator function with one yield, not "
                f"{self.function!r}: write 'async def ...: ...; yield; ...'"
            )


def _call(function: Callable[[], Any]) -> None:
    """Call *function*, and wait for it if it is ``async def``."""
    result = function()
    # Not for a task that it has started and happens to return: that one may run until the stop.
    if isinstance(result, Coroutine):
        await_(result)


class Lifespan:
    """One start and one stop of an application.

    Both run in one context, so that what a hook pushes or sets at the start it can pop or reset at
    the stop.

    Args:
        app: The application whose context is pushed from the start to the stop.
        hooks: In the order of their registration.
    """

    def __init__(self, app: Flask, hooks: Iterable[Hook]) -> None:
        self._app = app
        self._hooks = tuple(hooks)
        self._context = copy_context()
        self._app_context: AppContext | None = None

        # What is to be called at the stop, last first, each with its hook: shutdown hooks, and the
        # second halves of the lifespans that have begun.
        self._closers: list[tuple[Hook, Callable[[], Any]]] = []

    async def start(self) -> None:
        """Run the hooks of the start.

        Raises:
            Whatever a hook raises. The lifespans begun by then are ended first; the shutdown hooks
            do not run, as there was no start.
        """
        # Without hooks there is no context to push, and no teardown of one to surprise anybody.
        if not self._hooks:
            return
        try:
            await _bridge.run_in(self._context, self._start)
        except BaseException:
            self._closers = [c for c in self._closers if c[0].kind is Kind.LIFESPAN]
            await self.stop()
            raise

    async def stop(self) -> None:
        """Run the hooks of the stop, each of them, also after one that fails. Idempotent.

        One that calls ``sys.exit()``, or whose waiting is cancelled, has failed like any other.
        """
        if self._app_context is not None:
            await _bridge.run_in(self._context, self._stop)

    def _start(self) -> None:
        self._app_context = self._app.app_context()
        self._app_context.push()
        for hook in self._hooks:
            if hook.kind is Kind.STARTUP:
                _call(hook.function)
            elif hook.kind is Kind.SHUTDOWN:
                self._closers.append((hook, hook.function))
            else:
                manager = contextlib.asynccontextmanager(hook.function)()
                await_(manager.__aenter__())
                leave = functools.partial(manager.__aexit__, None, None, None)
                self._closers.append((hook, leave))

    def _stop(self) -> None:
        cancelled: asyncio.CancelledError | None = None
        while self._closers:
            hook, close = self._closers.pop()
            try:
                _call(close)
            except (Exception, SystemExit, asyncio.CancelledError) as error:
                self._app.logger.exception("%r failed at the stop", hook.function)
                if isinstance(error, asyncio.CancelledError) and is_being_cancelled():
                    cancelled = error
        context, self._app_context = self._app_context, None
        if context is not None:
            context.pop(None)
        if cancelled is not None:
            raise cancelled
