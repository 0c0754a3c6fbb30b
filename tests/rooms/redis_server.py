"""A real Redis on a free port, which can go away and come back."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path
from signal import SIGCONT, SIGSTOP

from harness import wait_for

__all__ = ("RedisServer",)


class RedisServer:
    """One server process at a time, always on the same port."""

    def __init__(self, program: str, directory: Path, *options: str) -> None:
        self._program = program
        self._directory = directory
        self._options = options
        with socket.create_server(("127.0.0.1", 0)) as sock:
            self.port = sock.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    @property
    def unix_socket(self) -> Path:
        return self._directory / "redis.sock"

    def start(self) -> None:
        """Start, and wait until it answers."""
        command = [self._program, "--port", str(self.port), "--save", "", "--appendonly", "no"]
        command += ["--unixsocket", str(self.unix_socket), "--dir", str(self._directory)]
        with (self._directory / "redis.log").open("ab") as log:
            self._process = subprocess.Popen([*command, *self._options], stdout=log, stderr=log)
        wait_for(self._answers, "Redis to answer")

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=5) as sock:
                sock.sendall(b"PING\r\n")
                return sock.recv(10)[:1] in (b"+", b"-")
        except OSError:
            return False

    def stop(self) -> None:
        """End it as a crash does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """Let it stand still, with its connections."""
        assert self._process is not None
        self._process.send_signal(SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        assert self._process is not None
        self._process.send_signal(SIGCONT)
