"""With the socket unit a restart refuses nobody: systemd holds the socket, connections wait."""

from __future__ import annotations

import http.client
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from harness import APPS, PATIENCE, wait_for

DEPLOY = Path(__file__).parents[2] / "deploy"

# What systemd does between its fork and the start of the service (sd_listen_fds(3)).
HAND_OVER = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1")
os.execv(sys.argv[2], sys.argv[2:])
"""


class System:
    """Holds a listening socket, as systemd does for a socket unit, and starts the service on it."""

    def __init__(self, directory: Path) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=2048)
        self.port = self.socket.getsockname()[1]
        self.log_path = directory / "service.log"
        self._service: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start gunicorn with the configuration that is shipped."""
        fd = self.socket.fileno()
        with self.log_path.open("ab") as log:
            self._service = subprocess.Popen(
                [
                    *(sys.executable, "-c", HAND_OVER, str(fd)),
                    *(sys.executable, "-m", "gunicorn", "deployed:app", "--no-control-socket"),
                    *("--worker-class", "flask_aiohttp_worker.Worker", "--workers", "2"),
                    *("--config", str(DEPLOY / "gunicorn.conf.py"), "--pythonpath", str(APPS)),
                ],
                pass_fds=[fd],
                stdout=log,
                stderr=log,
            )

    def stop(self) -> int:
        """Stop it as "systemctl stop" does, and return its exit code."""
        assert self._service is not None
        self._service.send_signal(signal.SIGTERM)
        return self._service.wait(PATIENCE)

    def kill(self) -> None:
        """End all, whatever has happened."""
        if self._service is not None and self._service.poll() is None:
            self._service.kill()
            self._service.wait()
        self.socket.close()


@pytest.fixture
def system(tmp_path: Path) -> Iterator[System]:
    system = System(tmp_path)
    yield system
    system.kill()


def ask(port: int, path: str) -> int:
    """Send one request on a connection of its own, and return the status."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        response.read()
        return response.status
    finally:
        connection.close()


def in_background(function: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=function, daemon=True)
    thread.start()
    return thread


@pytest.mark.load
def test_restarts_under_load_refuse_no_connection(system: System) -> None:
    """Twice stop and start: each request is answered with 200, those in between a bit later."""
    statuses: list[int] = []
    errors: list[Exception] = []
    over = threading.Event()

    def load(path: str) -> None:
        while not over.is_set():
            try:
                statuses.append(ask(system.port, path))
            except Exception as error:
                errors.append(error)

    system.start()
    threads = [in_background(lambda p=path: load(p)) for path in ("/sync", "/async", "/sync")]
    wait_for(lambda: len(statuses) > 50, "the first answers")
    for _ in range(2):
        assert 0 == system.stop()
        answered = len(statuses)
        system.start()
        wait_for(
            lambda n=answered: len(statuses) > n + 50 or errors, f"{system.log_path.read_text()}"
        )
    over.set()
    for thread in threads:
        thread.join(PATIENCE)

    assert [] == errors
    assert {200} == {*statuses}
