"""Run synchronous work in threads, a whole piece of work in one thread, and let it wait.

Rule 1: work comes in through one queue, results go back to the loop in batches: however many
        threads finish while the loop is busy, it is woken once.
Rule 2: what a thread waits for is done on the loop; its context variables travel there and back.
Rule 3: the threads are daemons. A view that never ends cannot hold the process.
Rule 4: an idle thread keeps nothing of its last work.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections import deque
from collections.abc import Awaitable, Callable
from contextvars import Context, copy_context
from queue import SimpleQueue
from typing import Any, TypeVar, cast

from . import _bridge
from ._crossing import WaitContext, wait_on

__all__ = ("PoolThread", "ThreadPool", "Work", "current_work")

T = TypeVar("T")


class PoolThread(threading.Thread):
    """A thread of a pool, and what it works on."""

    # None while it is idle. Others may read it at any time.
    work: Work | None = None


class _Current(threading.local):
    """The calling thread, if it belongs to a pool."""

    thread: PoolThread | None = None


_current = _Current()


def current_work() -> Work | None:
    """Return the work that the calling pool thread does, or None in any other thread."""
    thread = _current.thread
    return None if thread is None else thread.work


class Work:
    """One function on its way through the pool, and the waits it asks for."""

    __slots__ = (
        "_owes_cancellation",
        "_variables",
        "cancelled",
        "context",
        "error",
        "function",
        "future",
        "pool",
        "result",
        "task",
    )

    def __init__(self, pool: ThreadPool, function: Callable[[], Any], context: Context) -> None:
        self.pool = pool
        self.function: Callable[[], Any] | None = function
        self.context: Context | None = context

        # Set by the thread, read on the loop once the work is done.
        self.result: Any = None
        self.error: BaseException | None = None

        # Resolved on the loop; what run() awaits.
        self.future: asyncio.Future[None] = pool.loop.create_future()

        # What the thread waits for at the moment; set and cleared on the loop.
        self.task: asyncio.Task[Any] | None = None

        # Set on the loop when nobody awaits the result any more. A thread cannot be stopped; its
        # present or next wait is cancelled, once, as a task's would be: what it waits for after
        # that, to clean up, is not.
        self.cancelled = False
        self._owes_cancellation = False

        # Where its waits run; made for the first one.
        self._variables: WaitContext | None = None

    def wait(self, awaitable: Awaitable[T]) -> T:
        """Block this thread until *awaitable* is done on the pool's loop.

        Raises:
            asyncio.CancelledError: The work was cancelled.
        """
        if self._variables is None:
            self._variables = WaitContext()
        try:
            return wait_on(
                self.pool.loop, self.pool.post, awaitable, self._waiting, self._variables
            )
        finally:
            self.task = None

    def _waiting(self, task: asyncio.Task[Any]) -> None:
        self.task = task
        if self._owes_cancellation:
            self._owes_cancellation = False
            self._cancel_soon(task)

    def cancel(self) -> None:
        """Cancel what the thread waits for, or else its next wait. Call it on the loop."""
        self.cancelled = True
        if self.task is None or self.task.done():
            self._owes_cancellation = True
        else:
            self._cancel_soon(self.task)

    def _cancel_soon(self, task: asyncio.Task[Any]) -> None:
        # After its first step: a task that is cancelled before that never touches what it was to
        # await, and an async generator would be finalized in the thread.
        self.pool.loop.call_soon(self._cancel, task)

    def _cancel(self, task: asyncio.Task[Any]) -> None:
        # One that did not have to wait has ended: then it is the next one's turn.
        self._owes_cancellation = not task.cancel()


class ThreadPool:
    """A fixed number of daemon threads that work for one event loop.

    Create it and call its methods on that loop; :meth:`post` alone may be called from any thread.

    Args:
        size: How many threads there may be. They are started as they are needed.
        name: What the threads' names begin with.
    """

    def __init__(self, size: int, *, name: str = "flask-aiohttp") -> None:
        self.loop = asyncio.get_running_loop()
        self.size = size
        self.name = name
        self.threads: list[PoolThread] = []

        # Work given to the threads and not yet reported done.
        self.pending = 0

        # While no thread is free: one piece of work that waits, and the loop's time at which it
        # came. The queue is served in order, so when it has begun all before it have.
        self._probe: Work | None = None
        self._probe_came = 0.0

        self._queue: SimpleQueue[Work | None] = SimpleQueue()

        # Calls on their way from the threads to the loop.
        self._inbox: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()

        # True from the first call in an empty inbox until the loop begins to empty it.
        self._loop_called = False

    async def run(self, function: Callable[[], T], context: Context | None = None) -> T:
        """Call *function* in a thread, in a copy of the current context, and return its result.

        When the caller is cancelled, what *function* waits for is cancelled too, and each later
        wait; the thread is not waited for.
        """
        work = Work(self, function, context or copy_context())
        if self.pending >= len(self.threads):
            if len(self.threads) < self.size:
                self._start_thread()
            elif not self._probe_waits():
                self._probe, self._probe_came = work, self.loop.time()
        self.pending += 1
        self._queue.put(work)
        try:
            await work.future
        except asyncio.CancelledError:
            work.cancel()
            raise
        if work.error is not None:
            try:
                raise work.error
            finally:
                work.error = None
        return cast("T", work.result)

    @property
    def waiting(self) -> int:
        """How many pieces of work no thread has taken yet."""
        return self._queue.qsize()

    def waited(self) -> float:
        """Return for how many seconds, at least, the first in the queue has waited."""
        return self.loop.time() - self._probe_came if self._probe_waits() else 0.0

    def _probe_waits(self) -> bool:
        probe = self._probe
        if probe is not None and (
            probe.future.done() or any(thread.work is probe for thread in self.threads)
        ):
            self._probe = probe = None
        return probe is not None

    def post(self, callback: Callable[..., object], *args: Any) -> None:
        """Have the loop call *callback* soon, from any thread, in order for each thread."""
        # The order matters: the entry is there before the flag is read, and the loop clears the
        # flag before it takes the entries. So an entry is always taken by a call yet to come.
        self._inbox.append((callback, args))
        if not self._loop_called:
            self._loop_called = True
            try:
                self.loop.call_soon_threadsafe(self._empty_inbox)
            except RuntimeError:  # the loop is closed; the next caller shall learn it too
                self._loop_called = False
                raise

    def stop(self) -> None:
        """Let idle threads end. Busy ones end after their work; they are not waited for."""
        for _ in self.threads:
            self._queue.put(None)
        self.threads.clear()

    def _empty_inbox(self) -> None:
        self._loop_called = False
        inbox = self._inbox
        while inbox:
            callback, args = inbox.popleft()
            try:
                callback(*args)
            except Exception as error:
                # One that fails must not hold up the others, and the threads behind them.
                self.loop.call_exception_handler(
                    {"message": f"{callback!r} failed", "exception": error}
                )

    def _start_thread(self) -> None:
        thread = PoolThread(target=self._work, name=f"{self.name}-{len(self.threads)}", daemon=True)
        thread.start()
        self.threads.append(thread)

    def _work(self) -> None:
        thread = _current.thread = cast("PoolThread", threading.current_thread())
        while True:
            work = self._queue.get()
            if work is None:
                return
            thread.work = work
            context, function = work.context, work.function
            try:
                if not work.cancelled:  # else nobody wants it any more
                    work.result = cast("Context", context).run(cast("Callable[[], Any]", function))
            except SystemExit as error:
                work.error = _bridge.exit_as_error(error)
            except BaseException as error:
                work.error = error
            work.function = work.context = thread.work = None
            try:
                self.post(self._done, work)
            except RuntimeError:  # the loop is closed, nobody wants the result
                return
            del work, context, function

    def _done(self, work: Work) -> None:
        self.pending -= 1
        if not work.future.done():
            work.future.set_result(None)


def _forget() -> None:
    """In a child forked by a pool thread, that thread's loop does not run."""
    _current.thread = None


os.register_at_fork(after_in_child=_forget)
