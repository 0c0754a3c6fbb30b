"""However a hook of the application ends, or does not: the worker comes to a defined end."""

from __future__ import annotations

import signal
from collections.abc import Callable

import pytest
from harness import Gunicorn, wait_for

GRACE = ("--graceful-timeout", "2")


@pytest.fixture(name="start")
def _start(gunicorn: Callable[..., Gunicorn], hooks: str) -> Callable[..., Gunicorn]:
    """Start a gunicorn whose application has a hook that misbehaves."""

    def start(hook: str, *options: str) -> Gunicorn:
        options = (*GRACE, "--config", hooks, *options)
        return gunicorn("worker_hooks:app", *options, env={"WORKER_HOOK": hook})

    return start


@pytest.mark.parametrize(
    ("hook", "error"),
    [
        ("start raises", "LookupError: no database"),
        ("start exits", "RuntimeError: the application called sys.exit(7)"),
        ("start is cancelled", "RuntimeError: what a hook of the start waited for was cancelled"),
    ],
)
def test_a_start_that_fails_stops_gunicorn(
    start: Callable[..., Gunicorn], hook: str, error: str
) -> None:
    """The log has the reason and the line, no later hook runs, and no worker is tried again."""
    server = start(hook)

    code = server.wait()

    assert 3 == code
    assert error in server.log
    assert "worker_hooks.py" in server.log
    assert server.log.index("opened") < server.log.index("closed")
    assert "started last" not in server.log
    assert "stopped last" not in server.log
    assert 1 == server.log.count("Booting worker")


@pytest.mark.parametrize(
    ("hook", "number"),
    [
        ("start hangs", signal.SIGTERM),
        ("start hangs", signal.SIGINT),
        ("start hangs on", signal.SIGINT),
        ("start blocks", signal.SIGINT),
    ],
)
def test_a_start_that_hangs_ends_when_it_is_told_to(
    start: Callable[..., Gunicorn], hook: str, number: int
) -> None:
    """It is cancelled, and where that does not help left to itself: Ctrl-C ends it in any case."""
    server = start(hook)
    server.wait_for_log(f"the {hook}")
    [pid] = server.workers

    code = server.stop(number)

    assert 0 == code
    assert 1 == server.log.count(f"hook: worker_exit {pid}")
    assert "SIGKILL" not in server.log
    if hook == "start hangs":
        assert server.log.index("opened") < server.log.index("closed")


@pytest.mark.parametrize("hook", ["start hangs on", "start blocks"])
def test_a_start_that_hangs_does_not_outlive_a_reload(
    start: Callable[..., Gunicorn], hook: str
) -> None:
    """SIGHUP tells it to go and nobody else would end it: it has until the graceful timeout."""
    server = start(hook)
    server.wait_for_log(f"the {hook}")
    [old] = server.workers

    server.signal(signal.SIGHUP)
    server.wait_for_log(f"the {hook}", times=2)
    wait_for(lambda: old not in server.workers, "the old worker's end")

    assert 1 == server.log.count(f"hook: worker_exit {old}")


@pytest.mark.parametrize(
    ("hook", "error"),
    [
        ("stop raises", "LookupError: no database"),
        ("stop exits", "SystemExit: 7"),
        ("stop is cancelled", "CancelledError"),
    ],
)
def test_a_stop_that_fails_is_logged_and_goes_on(
    start: Callable[..., Gunicorn], hook: str, error: str
) -> None:
    """The other hooks run, and the worker ends as if nothing had been."""
    server = start(hook)
    server.wait_for_workers()

    code = server.stop()

    assert 0 == code
    assert error in server.log
    assert "failed at the stop" in server.log
    steps = [f"the {hook}", "closed", "stopped last", "hook: worker_exit"]
    assert sorted(steps, key=server.log.index) == steps
    assert "exited with code" not in server.log


@pytest.mark.parametrize("hook", ["stop hangs", "stop hangs on"])
def test_a_stop_that_hangs_is_left(start: Callable[..., Gunicorn], hook: str) -> None:
    """At the graceful timeout it is cancelled, and the worker ends whatever it does then."""
    server = start(hook, "--graceful-timeout", "1")
    [old] = server.wait_for_workers()

    # Not SIGTERM: at a stop of gunicorn's the master would kill it.
    server.signal(signal.SIGHUP)
    server.wait_for_log(f"hook: worker_exit {old}")
    wait_for(lambda: old not in server.workers, "the old worker's end")

    assert "The hooks of the stop did not end in time" in server.log
    assert "stopped last" in server.log or hook == "stop hangs on"


def test_a_stop_that_blocks_the_loop_is_killed_and_says_where(
    start: Callable[..., Gunicorn],
) -> None:
    """Without a heartbeat the master ends it after --timeout, and the log names the line."""
    server = start("stop blocks", "--timeout", "2")
    [old] = server.wait_for_workers()

    server.signal(signal.SIGHUP)
    server.wait_for_log(f"hook: worker_exit {old}")
    wait_for(lambda: old not in server.workers, "the old worker's end")

    assert "by the task 'hooks of the stop'" in server.log
    assert "the line that blocks" in server.log
    assert 1 == server.log.count(f"hook: worker_abort {old}")
