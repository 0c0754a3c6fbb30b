"""Wait outside a served request: one loop in one background thread for the whole process.

Flask's test client, ``flask run``, ``flask shell`` and other WSGI servers have no loop of ours.
All their waits meet on this one, so that clients and pools kept between calls stay usable.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Awaitable
from typing import Any, TypeVar

from ._crossing import wait_on

__all__ = ("background_loop", "wait")

T = TypeVar("T")

_lock = threading.Lock()
_loop: asyncio.AbstractEventLoop | None = None


def background_loop() -> asyncio.AbstractEventLoop:
    """Return the process's background loop, and start its thread at the first call."""
    global _loop
    with _lock:
        if _loop is None:
            _loop = asyncio.new_event_loop()
            threading.Thread(
                target=_loop.run_forever, name="flask-aiohttp-background", daemon=True
            ).start()
        return _loop


def wait(awaitable: Awaitable[T]) -> T:
    """Block the calling thread until *awaitable* is done on the background loop."""
    loop = background_loop()
    tasks: list[asyncio.Task[Any]] = []
    try:
        return wait_on(loop, loop.call_soon_threadsafe, awaitable, tasks.append)
    except BaseException:  # Ctrl-C while blocked: do not leave the work running unseen
        for task in tasks:
            loop.call_soon_threadsafe(task.cancel)
        raise


def _forget() -> None:
    """Start anew in a forked child: threads do not survive a fork."""
    global _lock, _loop
    _lock = threading.Lock()
    _loop = None


os.register_at_fork(after_in_child=_forget)
