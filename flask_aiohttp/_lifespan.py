"""What an application does when a worker starts and stops.

Hooks run on the worker's loop, one after the other, with the application context pushed:
``on_startup`` and the first half of ``lifespan`` in the order of their registration, the second
half and ``on_shutdown`` in the reverse order.
"""

from __future__ import annotations

import contextlib
import enum
import inspect
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

from flask import Flask

from . import _bridge
from ._waiting import await_

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

    def call(self) -> None:
        """Call the function, and wait for what it returns if that can be awaited."""
        result = self.function()
        if inspect.isawaitable(result):
            await_(result)


class Lifespan:
    """One start and one stop of an application.

    Args:
        app: The application whose context is pushed.
        hooks: In the order of their registration.
    """

    def __init__(self, app: Flask, hooks: Iterable[Hook]) -> None:
        self._app = app
        self._hooks = tuple(hooks)

        # The open half of each lifespan generator that has started.
        self._open: dict[Hook, AbstractAsyncContextManager[None]] = {}

    async def start(self) -> None:
        """Run the hooks of the start.

        Raises:
            Whatever a hook raises. The lifespans begun by then are ended first.
        """
        # Without hooks there is no context to push, and no teardown of one to surprise anybody.
        if not self._hooks:
            return
        try:
            await _bridge.run(self._start)
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Run the hooks of the stop, each of them, also after one that fails. Idempotent."""
        if self._started or self._open:
            await _bridge.run(self._stop)

    def _start(self) -> None:
        with self._app.app_context():
            for hook in self._hooks:
                if hook.kind is Kind.STARTUP:
                    hook.call()
                elif hook.kind is Kind.LIFESPAN:
                    manager = _as_manager(hook.function)
                    await_(manager.__aenter__())
                    self._open[hook] = manager
        self._started = True

    # True once every hook of the start has run; only then is there something to shut down.
    _started = False

    def _stop(self) -> None:
        started, self._started = self._started, False
        with self._app.app_context():
            for hook in reversed(self._hooks):
                try:
                    if hook.kind is Kind.SHUTDOWN and started:
                        hook.call()
                    elif hook in self._open:
                        await_(self._open.pop(hook).__aexit__(None, None, None))
                except Exception:
                    self._app.logger.exception("%r failed at the stop", hook.function)


def _as_manager(function: Callable[[], AsyncIterator[None]]) -> AbstractAsyncContextManager[None]:
    return contextlib.asynccontextmanager(function)()
