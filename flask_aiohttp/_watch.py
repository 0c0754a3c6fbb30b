"""Say in the log what holds up a server, while it does.

Rule 1: a loop that stands still cannot tell: a thread of its own looks at it.
Rule 2: nothing is done for each request. The loop makes a mark now and then, and looks at the pool.
Rule 3: a process that was stopped and goes on (SIGSTOP, a laptop's sleep, a machine without time
        for it) has not been blocked by its code.
Rule 4: the log is not flooded: of what goes on, it is told now and then.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import selectors
import sys
import threading
from time import monotonic, process_time
from types import CodeType, FrameType
from typing import cast

from ._activity import Activity
from ._pool_watch import PoolWatch
from ._seldom import Seldom
from ._settings import ServerSettings
from ._stacks import frames_from, stack

__all__ = ("Watch",)

# Seconds between two marks of the loop, at most.
_MAX_PERIOD = 0.5

# Where Python's own loop waits for events.
_SELECTORS = selectors.DefaultSelector.select.__code__.co_filename

# Seconds by which a thread may wake too late before the machine is held responsible.
_LATE = 0.05


class Watch:
    """Watches one server; used on its loop.

    Args:
        activity: Of the server.
        settings: ``slow_loop``, ``slow_request`` and ``logger``.
    """

    def __init__(self, activity: Activity, settings: ServerSettings) -> None:
        self._loop = activity.loop
        self._period = min(settings.slow_loop / 2 or _MAX_PERIOD, _MAX_PERIOD)
        self._pool_watch = PoolWatch(activity, settings)
        self._sentry = (
            Sentry(activity, settings.slow_loop, self._period, settings.logger)
            if settings.slow_loop
            else None
        )
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to watch. Idempotent."""
        if self._timer is None:
            self._mark()
            if self._sentry is not None:
                self._sentry.start()

    def stop(self) -> None:
        """Watch no more. Idempotent."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            if self._sentry is not None:
                self._sentry.stop()

    def _mark(self) -> None:
        if self._sentry is not None:
            self._sentry.marked = monotonic()
        self._timer = self._loop.call_later(self._period, self._mark)
        self._pool_watch.look()


class Sentry:
    """The thread that looks whether the loop has made its mark.

    Args:
        activity: Tells what the loop is busy with.
        patience: Seconds that a mark may be late.
        period: Seconds from one mark to the next.
        logger: For the warning.
    """

    def __init__(
        self, activity: Activity, patience: float, period: float, logger: logging.Logger
    ) -> None:
        self._activity = activity
        self._patience = patience
        self._period = period
        self._logger = logger

        # When the loop made its last mark.
        self.marked = monotonic()

        # The mark after which the loop stood still when that was last reported.
        self._reported = 0.0

        # The loop's thread, and the code that runs the loop where that is not Python's own.
        self._thread_id = 0
        self._runner: CodeType | None = None

        self._seldom = Seldom()
        self._stopped = threading.Event()

    def start(self) -> None:
        """Start the thread. Call it on the loop."""
        self._thread_id = threading.get_ident()
        if not isinstance(self._activity.loop, asyncio.BaseEventLoop):
            self._runner = _runner_of_loop()
        threading.Thread(target=self._run, name="flask-aiohttp-watch", daemon=True).start()

    def stop(self) -> None:
        """Let the thread end. It is not waited for: it may be writing to a log that is stuck."""
        self._stopped.set()

    def _run(self) -> None:
        due = self.marked + self._period + self._patience

        # The mark after which this thread itself was late, and has given the loop more time.
        excused = 0.0
        while True:
            cpu = process_time()
            if self._stopped.wait(max(0.0, due - monotonic())) or self._activity.loop.is_closed():
                return
            now, marked = monotonic(), self.marked
            late = now - due
            due = max(marked + self._period + self._patience, now + self._period)
            if now < marked + self._period + self._patience or marked == self._reported:
                continue
            if late > _LATE and process_time() - cpu < late / 2 and marked != excused:
                # Not even this thread has run. (One that C code had kept from running, which does
                # not give Python's lock away, would have seen the processor at work.)
                excused, due = marked, now + self._patience / 2
            else:
                self._look()

    def _look(self) -> None:
        """Report what the loop does, unless it has just made its mark."""
        marked = self.marked
        frame = sys._current_frames().get(self._thread_id)
        task = asyncio.current_task(self._activity.loop)
        if frame is None or marked == self._reported or self._is_idle(frame):
            return
        where, who = stack(frames_from(frame)), self._activity.of_task(task)
        if self.marked != marked:
            return
        self._reported = marked
        if (held_back := self._seldom.ask()) is not None:
            self._logger.warning(
                "The event loop has been blocked for %.1f s by %s; nothing else is served "
                "meanwhile%s. What blocks belongs in a 'def' view or in asyncio.to_thread():\n%s",
                monotonic() - marked,
                who,
                f" ({held_back} more times since the last warning)" if held_back else "",
                where.rstrip(),
            )

    def _is_idle(self, frame: FrameType) -> bool:
        # It waits for events, and only wakes late.
        return frame.f_code.co_filename == _SELECTORS or frame.f_code is self._runner


def _runner_of_loop() -> CodeType | None:
    """Return the code of the function that runs the loop: the first below the coroutines.

    A loop that is written in C has no frames of its own between that and its callbacks.
    """
    frame, below_coroutines = sys._getframe(1), False
    while frame is not None:
        is_coroutine = bool(frame.f_code.co_flags & inspect.CO_COROUTINE)
        if below_coroutines and not is_coroutine:
            return frame.f_code
        below_coroutines = below_coroutines or is_coroutine
        frame = cast("FrameType", frame.f_back)
    return None
