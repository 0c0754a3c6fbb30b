"""An alarm clock that signal handlers may set.

``threading.Timer`` is none: to start a thread takes a lock, which the very code may hold that the
signal has interrupted. Here the thread is there beforehand, and ``SimpleQueue.put()`` is made for
signal handlers ("reentrant", says its documentation).
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from time import monotonic

__all__ = ("Alarm",)


class Alarm:
    """Calls *ring*, in a thread of its own, as often as it was set.

    Args:
        ring: It must be quick, and not fail.
    """

    def __init__(self, ring: Callable[[], object]) -> None:
        self._ring = ring

        # Times of the monotonic clock.
        self._requests: SimpleQueue[float] = SimpleQueue()
        threading.Thread(target=self._run, name="flask-aiohttp-alarm", daemon=True).start()

    def set(self, seconds: float) -> None:
        """Ring in so many seconds, besides whatever was asked for before."""
        self._requests.put(monotonic() + seconds)

    def _run(self) -> None:
        due: list[float] = []
        while True:
            with contextlib.suppress(Empty):
                timeout = max(0.0, min(due) - monotonic()) if due else None
                due.append(self._requests.get(timeout=timeout))
            if due and min(due) <= monotonic():
                due.remove(min(due))
                self._ring()
