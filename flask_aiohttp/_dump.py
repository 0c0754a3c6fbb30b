"""All that a process does, for the log of one that is about to be killed.

Rule 1: it must be done within a second, whatever there is to tell: what is alike is told once, and
        there is an end.
Rule 2: what cannot be told does not keep the rest from being told.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator

from . import _bridge
from ._activity import Activity
from ._stacks import Standing, frames_of_task, frames_of_threads, grouped

__all__ = ("dump",)

_NONE = "  none\n"


def dump(activity: Activity) -> str:
    """Return where each thread and each task is, and which request it serves.

    The calling thread is left out: who calls this from a signal handler has its stack.
    """
    parts = [_told("Threads", _threads, activity), _told("Tasks", _tasks, activity)]
    return "".join(parts)


def _told(title: str, tell: Callable[[Activity], Iterator[Standing]], activity: Activity) -> str:
    try:
        return f"{title}:\n{grouped(tell(activity)) or _NONE}"
    except Exception as error:  # anything may be broken by now
        return f"{title}: cannot be told, {error!r}\n"


def _threads(activity: Activity) -> Iterator[Standing]:
    threads = {thread.ident: thread for thread in threading.enumerate()}
    for ident, frames in frames_of_threads().items():
        if ident != threading.get_ident():
            yield activity.of_thread(threads.get(ident)), frames


def _tasks(activity: Activity) -> Iterator[Standing]:
    carriers = _bridge.waiting()
    running = asyncio.current_task(activity.loop)
    for task in asyncio.all_tasks(activity.loop):
        if task is not running:
            carrier = carriers.get(task)
            place = " in a greenlet" if carrier is not None else ""
            yield activity.of_task(task) + place, frames_of_task(task, carrier)
