"""Let synchronous code wait for the event loop, in a greenlet.

Rule 1: this is the only module that imports greenlet.
Rule 2: nothing here knows HTTP, Flask or aiohttp.
Rule 3: the loop is given what a coroutine yields, never the coroutine. The coroutine is stepped
        in the greenlet that waits, and each future it yields goes up to the driver, so that an
        async view may call synchronous code which waits in its turn, to any depth.
Rule 4: a finished greenlet is kept for the next call, and keeps nothing of the last one.

How a wait travels::

    the task's coroutine            the carrier (a greenlet)
    run() ── switch ──────────────► function()
                                      └─ wait(coroutine)
                                           coroutine.send(None)  ──► yields a future
    yield future  ◄──── switch ────────────┘
    (the task sleeps, the loop serves others; the future is done)
    run() ── switch(result) ──────► coroutine.send(result)  ──► returns
                                      └─ function goes on
"""

from __future__ import annotations

import asyncio
import gc
import types
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterator
from contextvars import Context, copy_context
from threading import local
from typing import Any, Final, TypeVar, cast

from greenlet import getcurrent, greenlet

__all__ = (
    "Carrier",
    "await_chain",
    "current_carrier",
    "exit_as_error",
    "run",
    "run_in",
    "waiting",
)

T = TypeVar("T")

# How many finished carriers a thread keeps. A fresh greenlet costs 25 to 40 us on CPython 3.13
# (its data stack is mapped and unmapped each time), a kept one about 1 us; each kept one holds
# some 16 KiB. As many as gunicorn's default of worker_connections.
MAX_IDLE_CARRIERS: Final = 1000

_FINISHED: Final = object()


class _Idle(local):
    """The finished carriers of this thread: a greenlet cannot move to another thread."""

    def __init__(self) -> None:
        self.carriers: list[Carrier] = []


_idle = _Idle()


class Carrier(greenlet):
    """A greenlet that calls one function after another, each on behalf of one task."""

    __slots__ = ("error", "function", "hub", "result", "task", "waiter")

    def __init__(self) -> None:
        super().__init__(_carry)
        # What to call next; set by run() before it switches here, dropped once it has returned.
        self.function: Callable[[], Any] | None = None

        # What the function returned or raised; taken by run().
        self.result: Any = None
        self.error: BaseException | None = None

        # The greenlet that resumed this one, to which each yielded future goes. It is not always
        # the parent: an eager task may take its first step inside another carrier.
        self.hub: greenlet = getcurrent()

        # The greenlet to resume when the future is done. It is not always the carrier itself:
        # SQLAlchemy's asyncio layer runs its own greenlets on top of ours. None while none waits.
        self.waiter: Any = None

        # The task in whose steps this carrier runs; only in those may it wait.
        self.task: asyncio.Task[Any] | None = None

    def frames(self) -> list[types.FrameType]:
        """Return where the function waits, innermost last; nothing while it runs or is done.

        The coroutine that it waits for stands beside the greenlet's stack, and comes last.
        """
        found: list[types.FrameType] = []
        awaited: Any = None
        frame = getattr(self.waiter, "gr_frame", None)
        while frame is not None:
            if awaited is None and frame.f_code is Carrier.wait.__code__:
                awaited = frame.f_locals["coroutine"]
            found.append(frame)
            frame = frame.f_back
        return [*reversed(found), *await_chain(awaited)]

    def wait(self, awaitable: Awaitable[T]) -> T:
        """Suspend the calling greenlet until *awaitable* is done, and return its result.

        Raises:
            Whatever the awaitable raises, and ``asyncio.CancelledError`` when the task is
            cancelled.
        """
        if isinstance(awaitable, types.CoroutineType):
            coroutine: Coroutine[Any, Any, T] = awaitable
        else:
            coroutine = _as_coroutine(awaitable)

        here = getcurrent()
        try:
            future = coroutine.send(None)
            while True:
                self.waiter = here
                try:
                    value = self.hub.switch(future)
                except BaseException as error:
                    future = coroutine.throw(error)
                else:
                    future = coroutine.send(value)
        except StopIteration as stop:
            return cast("T", stop.value)


def waiting() -> dict[asyncio.Task[Any] | None, Carrier]:
    """Return the carriers that wait, by their tasks.

    Nobody keeps a list of them: they are looked for among all objects, which takes a moment.
    """
    # Not isinstance(): that asks a proxy, such as Flask's, for the class of what it stands for.
    carriers = [each for each in gc.get_objects() if type(each) is Carrier]
    return {carrier.task: carrier for carrier in carriers if carrier.waiter is not None}


def await_chain(awaitable: Any) -> Iterator[types.FrameType]:
    """Yield the frames of a suspended coroutine and of what it awaits, outermost first."""
    while awaitable is not None:
        for kind, awaits in (("cr", "cr_await"), ("gi", "gi_yieldfrom"), ("ag", "ag_await")):
            frame = getattr(awaitable, f"{kind}_frame", None)
            if frame is not None:
                yield frame
                awaitable = getattr(awaitable, awaits)
                break
        else:
            # A step of an async generator does not say whose it is.
            wrapped = (each for each in gc.get_referents(awaitable) if type(each) in _SUSPENDABLE)
            awaitable = next(wrapped, None)


_SUSPENDABLE: Final = (types.CoroutineType, types.GeneratorType, types.AsyncGeneratorType)


def _carry() -> None:
    """Call one function after another: what every carrier runs.

    Between two calls nothing on this stack refers to the carrier. So one that nobody keeps ends at
    once; Python could never collect a greenlet whose own stack refers to it.
    """
    while True:
        carrier = cast("Carrier", getcurrent())
        try:
            carrier.result = cast("Callable[[], Any]", carrier.function)()
        except SystemExit as error:
            carrier.error = exit_as_error(error)
        except BaseException as error:
            carrier.error = error
        carrier.function = None
        hub = carrier.hub
        del carrier
        hub.switch(_FINISHED)


def exit_as_error(error: SystemExit) -> RuntimeError:
    """Return what to raise instead: on the loop, *error* would end the process without a drain."""
    instead = RuntimeError(f"the application called sys.exit({error.code!r})")
    instead.__cause__ = error
    return instead


async def _as_coroutine(awaitable: Awaitable[T]) -> T:
    return await awaitable


def current_carrier() -> Carrier | None:
    """Return the carrier below which the caller runs, or None.

    A carrier counts only while its own task takes a step. In a task that was started eagerly
    inside it, waiting would suspend the wrong task.
    """
    current: greenlet | None = getcurrent()
    while current is not None:
        if isinstance(current, Carrier):
            return current if current.task is _current_task() else None
        current = current.parent
    return None


def _current_task() -> asyncio.Task[Any] | None:
    try:
        return asyncio.current_task()
    except RuntimeError:  # no loop runs in this thread
        return None


@types.coroutine
def run_in(context: Context, function: Callable[[], T]) -> Generator[Any, Any, T]:
    """Call the synchronous *function* in a greenlet, in *context*, as part of the running task.

    What runs below *function* may wait with :meth:`Carrier.wait`: only this greenlet is
    suspended. The task's ``current_task()``, timeouts and cancellation reach it as if it were a
    coroutine.

    Args:
        context: The context variables that *function* sees and changes. It must not be entered
            anywhere else meanwhile.
        function: What to call.

    Raises:
        Whatever *function* raises.
    """
    idle = _idle.carriers
    carrier = idle.pop() if idle else Carrier()
    carrier.function = function
    carrier.gr_context = context
    carrier.task = _current_task()
    carrier.hub = getcurrent()

    future = carrier.switch()
    while future is not _FINISHED:
        try:
            value = yield future
        except BaseException as error:
            carrier.hub = getcurrent()
            future = carrier.waiter.throw(error)
        else:
            carrier.hub = getcurrent()
            future = carrier.waiter.switch(value)

    result, error_raised = carrier.result, carrier.error
    carrier.result = carrier.error = carrier.task = None
    carrier.gr_context = carrier.waiter = None
    if len(idle) < MAX_IDLE_CARRIERS:
        idle.append(carrier)

    if error_raised is not None:
        try:
            raise error_raised
        finally:
            # The traceback leads to this frame: without this the two keep each other alive.
            del error_raised
    return cast("T", result)


async def run(function: Callable[[], T]) -> T:
    """Call *function* as :func:`run_in` does, in a copy of the current context."""
    return await run_in(copy_context(), function)
