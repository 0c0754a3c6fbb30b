"""What a worker writes to the log when the master is about to kill it for its silence.

The master sends SIGABRT, and SIGKILL about a second later: first comes what matters most.
"""

from __future__ import annotations

import asyncio
from types import FrameType
from typing import Any

from flask_aiohttp._activity import Activity
from flask_aiohttp._dump import dump
from flask_aiohttp._stacks import frames_from, stack

__all__ = ("last_words",)


def last_words(log: Any, pid: int, frame: FrameType | None, activity: Activity | None) -> None:
    """Log what blocks the loop, then all that waits for it. Called by the signal's handler.

    Args:
        log: gunicorn's logger.
        pid: The worker's process id.
        frame: Where the main thread was interrupted.
        activity: Of the server; None before it serves.
    """
    who = "the start of the application"
    if activity is not None:
        who = activity.of_task(asyncio.current_task(activity.loop))
    where = stack(frames_from(frame)).rstrip()
    log.critical("Worker timeout (pid:%s), the event loop is blocked by %s at\n%s", pid, who, where)
    if activity is not None:
        log.critical("What worker %s was doing besides:\n%s", pid, dump(activity).rstrip())
