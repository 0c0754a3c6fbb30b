"""The alarm clock of a stop."""

from __future__ import annotations

import signal
import threading
from types import FrameType

from harness import wait_for

from flask_aiohttp_worker._alarm import Alarm


def test_it_rings_as_often_as_it_was_set_and_the_earliest_first() -> None:
    """A second time that is earlier than the first is not waited for behind that one."""
    rung = threading.Semaphore(0)
    alarm = Alarm(rung.release)

    alarm.set(3600)
    alarm.set(0.01)
    alarm.set(0)

    assert rung.acquire(timeout=20)
    assert rung.acquire(timeout=20)
    assert not rung.acquire(blocking=False)


def test_a_signal_handler_may_set_it_while_a_thread_is_being_started() -> None:
    """The lock that starts a thread is held meanwhile; a timer would wait for it for ever."""
    rung = threading.Event()
    alarm = Alarm(rung.set)

    def handler(number: int, frame: FrameType | None) -> None:
        alarm.set(0)

    before = signal.signal(signal.SIGUSR1, handler)
    try:
        with threading._active_limbo_lock:  # type: ignore[attr-defined]
            signal.raise_signal(signal.SIGUSR1)
            wait_for(rung.is_set, "the alarm")
    finally:
        signal.signal(signal.SIGUSR1, before)
