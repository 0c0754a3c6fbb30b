"""What systemd is told by a master that runs this worker, read from a socket like systemd's own."""

from __future__ import annotations

import os
import select
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from gunicorn import systemd as gunicorn_systemd
from harness import PATIENCE, Gunicorn, wait_for

from flask_aiohttp_worker import systemd

DEPLOY = Path(__file__).parents[2] / "deploy"


class NotifySocket:
    """The socket that systemd listens on (sd_notify(3)).

    Args:
        path: Where it is.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.settimeout(PATIENCE)

    def next(self) -> dict[str, str]:
        """Return the next message, as soon as there is one."""
        lines = self._socket.recv(4096).decode().splitlines()
        return dict(line.split("=", 1) for line in lines)

    def waiting(self) -> list[bytes]:
        """Return all that have come."""
        messages = []
        while select.select([self._socket], [], [], 0)[0]:
            messages.append(self._socket.recv(4096))
        return messages

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def notify(tmp_path: Path) -> Iterator[NotifySocket]:
    notify = NotifySocket(tmp_path / "notify.sock")
    yield notify
    notify.close()


def test_a_start_a_reload_and_a_stop_are_reported(
    gunicorn: Callable[..., Gunicorn], notify: NotifySocket
) -> None:
    """With the shipped configuration, systemd sees when each begins and when a reload has ended."""
    server = gunicorn(
        *("worker_demo:app", "--config", str(DEPLOY / "gunicorn.conf.py"), "-w", "2"),
        env={"NOTIFY_SOCKET": str(notify.path)},
    )
    assert "1" == notify.next()["READY"]
    old = server.wait_for_workers(2)

    before = time.monotonic_ns() // 1000
    server.signal(signal.SIGHUP)
    begun = notify.next()
    ended = notify.next()
    after = time.monotonic_ns() // 1000

    assert "1" == begun["RELOADING"]
    assert before <= int(begun["MONOTONIC_USEC"]) <= after
    assert "1" == ended["READY"]
    assert set() == {*old} & {*server.workers}

    assert 0 == server.stop()
    assert {"STOPPING": "1"} == notify.next()


def test_the_watchdog_hears_of_a_worker_that_beats(
    gunicorn: Callable[..., Gunicorn], notify: NotifySocket, tmp_path: Path
) -> None:
    """Where systemd asks for it, it is told again and again that a worker is alive."""
    config = tmp_path / "watched.py"
    config.write_text(
        "import os\nos.environ.update(WATCHDOG_PID=str(os.getpid()), WATCHDOG_USEC='1500000')\n"
    )
    gunicorn(*("worker_demo:app", "--config", str(config)), env={"NOTIFY_SOCKET": str(notify.path)})

    assert "1" == notify.next()["READY"]
    assert [{"WATCHDOG": "1"}] * 3 == [notify.next() for _ in range(3)]


def test_the_watchdog_hears_nothing_of_workers_that_are_stuck(
    gunicorn: Callable[..., Gunicorn], notify: NotifySocket, tmp_path: Path
) -> None:
    """It is no timer that always fires: a worker that stands still is none that beats."""
    config = tmp_path / "watched.py"
    config.write_text(
        "import os\nos.environ.update(WATCHDOG_PID=str(os.getpid()), WATCHDOG_USEC='1500000')\n"
    )
    server = gunicorn(
        *("worker_demo:app", "--config", str(config), "--timeout", "0"),
        env={"NOTIFY_SOCKET": str(notify.path)},
    )
    [pid] = server.wait_for_workers(1)
    os.kill(pid, signal.SIGSTOP)
    try:
        # The last heartbeat is good for one more period; then there is silence.
        def silent() -> bool:
            notify.waiting()
            since = wakings(server.process.pid)
            # It wakes once a second besides, to look after its workers.
            wait_for(lambda: wakings(server.process.pid) > since + 4, "the timer")
            return not notify.waiting()

        wait_for(silent, "silence")
    finally:
        os.kill(pid, signal.SIGCONT)

    assert {"WATCHDOG": "1"} == notify.next()


def wakings(pid: int) -> int:
    """Return how often a process has been woken from its sleep so far."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("voluntary_ctxt_switches:"):
            return int(line.split()[1])
    raise AssertionError("/proc has changed")


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What would be sent to systemd."""
    messages: list[str] = []
    monkeypatch.setattr(systemd, "sd_notify", lambda state, log: messages.append(state))
    return messages


def test_a_reload_ends_with_its_last_old_worker(sent: list[str]) -> None:
    """A new worker that dies meanwhile, or an old one of several, does not end it."""
    workers = {pid: SimpleNamespace(age=pid) for pid in (1, 2, 3, 4)}
    server = SimpleNamespace(worker_age=2, WORKERS=workers, log=None)

    systemd.on_reload(server)
    systemd.child_exit(server, workers.pop(4))
    systemd.child_exit(server, workers.pop(1))
    assert 1 == len(sent)
    systemd.child_exit(server, workers.pop(2))
    assert "READY=1" in sent[1]
    workers[5] = SimpleNamespace(age=5)
    systemd.child_exit(server, workers.pop(3))

    assert 2 == len(sent)


@pytest.mark.parametrize("environ", [{}, {"WATCHDOG_USEC": "1000", "WATCHDOG_PID": "1"}])
def test_without_a_watchdog_there_is_no_timer(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is started that nobody has asked this process for."""
    for name in ("WATCHDOG_USEC", "WATCHDOG_PID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    timers: list[object] = []
    monkeypatch.setattr(signal, "setitimer", lambda *args: timers.append(args))

    systemd.start_watchdog((), None)

    assert [] == timers


def test_gunicorn_still_has_what_is_used() -> None:
    """Its sd_notify() has no documentation of its own."""
    assert callable(gunicorn_systemd.sd_notify)
