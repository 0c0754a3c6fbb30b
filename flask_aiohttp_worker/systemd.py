"""What the master tells systemd besides gunicorn's own ``READY=1`` (sd_notify(3)).

The watchdog beats by itself wherever systemd asks for it: the worker class starts it. The hooks
are for ``gunicorn.conf.py``, since gunicorn gives a worker class no part in them::

    from flask_aiohttp_worker.systemd import child_exit, on_exit, on_reload

All of it runs in the master, so ``NotifyAccess=main`` is enough.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Collection
from typing import Any

from gunicorn.systemd import sd_notify

__all__ = ("child_exit", "on_exit", "on_reload", "start_watchdog")

# The age of the youngest worker when the reload under way began; None while there is none.
_reloading: int | None = None


def on_reload(server: Any) -> None:
    """Say that a reload has begun: gunicorn's hook of the same name."""
    global _reloading
    _reloading = server.worker_age
    # systemd of version 253 and later wants the time with it (Type=notify-reload).
    now = time.monotonic_ns() // 1000
    sd_notify(f"RELOADING=1\nMONOTONIC_USEC={now}\nSTATUS=Old workers finish", server.log)


def child_exit(server: Any, worker: Any) -> None:
    """Say that a reload has ended, once the last old worker is gone: gunicorn's hook."""
    global _reloading
    ages = [other.age for other in server.WORKERS.values() if other is not worker]
    if _reloading is not None and ages and min(ages) > _reloading:
        _reloading = None
        sd_notify("READY=1\nSTATUS=Reloaded", server.log)


def on_exit(server: Any) -> None:
    """Say that the service ends: gunicorn's hook of the same name."""
    sd_notify("STOPPING=1", server.log)


def start_watchdog(workers: Collection[Any], log: Any) -> None:
    """Tell systemd from now on that this master lives and a worker beats, if it asks for that.

    Without ``WatchdogSec=`` in the unit this does nothing (sd_watchdog_enabled(3)). A signal of
    the master's own timer asks: its handler runs only while the main thread does, and answers only
    if one of the workers has beaten in time. A stuck master, or one whose workers are all stuck,
    is silent, and systemd restarts the service.

    Args:
        workers: Those that the master has made and not forgotten yet.
        log: gunicorn's logger.
    """
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    if not microseconds.isdigit() or os.environ.get("WATCHDOG_PID") != str(os.getpid()):
        return
    limit = int(microseconds) / 1e6

    def beat(*_: object) -> None:
        if any(_beats(worker, limit) for worker in tuple(workers)):
            sd_notify("WATCHDOG=1", log)

    signal.signal(signal.SIGALRM, beat)
    # A fork does not inherit the timer. systemd recommends half of the time; a third lets one
    # answer come late.
    signal.setitimer(signal.ITIMER_REAL, limit / 3, limit / 3)


def _beats(worker: Any, limit: float) -> bool:
    try:
        # Of a worker that still starts this is negative: until its first heartbeat the file's time
        # is that of the wall clock.
        return bool(time.monotonic() - worker.tmp.last_update() <= limit)
    except (OSError, ValueError):  # it is gone, and its file closed
        return False
