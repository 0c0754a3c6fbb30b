"""What a server is busy with, in words: which request a task or a thread serves."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

from ._exchange import Exchange
from ._threads import PoolThread, ThreadPool, Work
from ._traffic import Traffic

__all__ = ("Activity", "describe", "exchange_of")

# A target may be as long as a request line. Its end says least.
_MAX_TARGET = 200

_NOTHING = object()


class Activity:
    """The requests, tasks and threads of one server. May be asked from any thread.

    Args:
        loop: On which it serves.
        traffic: Its requests.
        pool: Returns its threads, or None where it has none.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        traffic: Traffic,
        pool: Callable[[], ThreadPool | None],
    ) -> None:
        self.loop = loop
        self.traffic = traffic
        self._pool = pool

    @property
    def pool(self) -> ThreadPool | None:
        """The threads for sync views."""
        return self._pool()

    @property
    def waiting(self) -> int:
        """How many requests wait for a thread."""
        return self.pool.waiting if self.pool is not None else 0

    def of_task(self, task: asyncio.Task[Any] | None) -> str:
        """Return what *task* does."""
        if task is None:
            return "a callback"
        name = f"the task {task.get_name()!r}"
        served = self.traffic.in_flight.get(task, _NOTHING)
        if isinstance(served, Exchange):
            return describe(served)
        if served is None:
            return f"a native request of aiohttp's in {name}"
        for thread in self.pool.threads if self.pool is not None else ():
            work = thread.work
            if work is not None and work.task is task:
                return f"{name} of {_work(work)}"
        return name

    def of_thread(self, thread: threading.Thread | None) -> str:
        """Return what *thread* does, after its name."""
        name = thread.name if thread is not None else "unknown to Python"
        work = thread.work if isinstance(thread, PoolThread) else None
        return f"the thread {name!r}" + (f" with {_work(work)}" if work is not None else "")


def exchange_of(work: Work) -> Exchange | None:
    """Return the request that is served by *work*, if it is one."""
    owner = getattr(work.function, "__self__", None)
    return owner if isinstance(owner, Exchange) else None


def _work(work: Work) -> str:
    exchange = exchange_of(work)
    return describe(exchange) if exchange is not None else repr(work.function)


def describe(exchange: Exchange) -> str:
    """Return a request's method and target, and its endpoint once Flask has found it."""
    environ = exchange.environ
    target = environ["RAW_URI"]
    if len(target) > _MAX_TARGET:
        target = f"{target[:_MAX_TARGET]}..."
    text = f"{environ['REQUEST_METHOD']} {target}"
    # Where Werkzeug keeps the request (see the documentation of its Request).
    endpoint = getattr(environ.get("werkzeug.request"), "endpoint", None)
    return text if endpoint is None else f"{text} (endpoint {endpoint!r})"
