"""Event loops that end: nothing that was started on one holds the process when it is closed."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from typing import Any, TypeVar

__all__ = ("DaemonExecutor", "close", "lend_daemons")

T = TypeVar("T")


class DaemonExecutor(ThreadPoolExecutor):
    """An executor whose threads are daemons.

    The interpreter waits at its exit for the threads of any other executor: one call of
    ``asyncio.to_thread()`` that does not end would hold a worker that gunicorn has told to go.
    (It inherits only because asyncio takes no other type for a default executor.)
    """

    def __init__(self) -> None:
        self._size = min(32, (os.cpu_count() or 1) + 4)  # as asyncio's own has
        super().__init__(self._size)
        self._calls: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self._daemons: list[threading.Thread] = []
        self._lock = threading.Lock()

        # Calls that have been taken on and have not ended.
        self._pending = 0
        self._closed = False

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Have a daemon thread call *fn*.

        Raises:
            RuntimeError: The executor has been shut down.
        """
        with self._lock:
            if self._closed:
                raise RuntimeError("cannot schedule new futures after shutdown")
            future: Future[T] = Future()
            self._calls.put((future, lambda: fn(*args, **kwargs)))
            self._pending += 1
            if self._pending > len(self._daemons) < self._size:
                name = f"asyncio-daemon-{len(self._daemons)}"
                thread = threading.Thread(target=self._work, name=name, daemon=True)
                thread.start()
                self._daemons.append(thread)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls, and let idle threads end. Busy ones are not waited for."""
        with self._lock:
            self._closed = True
            for _ in self._daemons:
                self._calls.put(None)

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            future, function = call
            if future.set_running_or_notify_cancel():
                try:
                    result = function()
                except BaseException as error:
                    future.set_exception(error)
                else:
                    future.set_result(result)
                    del result
            del call, future, function
            with self._lock:
                self._pending -= 1


def lend_daemons(loop: asyncio.AbstractEventLoop) -> asyncio.AbstractEventLoop:
    """Give *loop* a default executor that cannot hold the process, and return it."""
    loop.set_default_executor(DaemonExecutor())
    return loop


def close(loop: asyncio.AbstractEventLoop, timeout: float = 1.0) -> None:
    """Cancel what is left on *loop*, give it *timeout* seconds, and close it."""
    left = asyncio.all_tasks(loop)
    for task in left:
        task.cancel()
    if left:
        loop.run_until_complete(asyncio.wait(left, timeout=timeout))
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()
