"""Servers for tests: in this process on port 0, and a real gunicorn."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import os
import re
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from signal import SIGKILL, SIGTERM
from typing import Any

import aiohttp

from flask_aiohttp import AioHTTP
from flask_aiohttp._server import Server
from flask_aiohttp._settings import ServerSettings

APPS = Path(__file__).parent / "apps"

# Seconds that a test waits for a condition before it fails. Generous: the machine may be busy.
PATIENCE = 20.0


def wait_for(condition: Callable[[], Any], what: str) -> Any:
    """Return what *condition* returns as soon as that is true."""
    deadline = time.monotonic() + PATIENCE
    while not (result := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {PATIENCE} s in vain for {what}")
        time.sleep(0.01)
    return result


async def eventually(condition: Callable[[], Any], what: str) -> Any:
    """Return what *condition* returns as soon as that is true, while the loop goes on."""
    deadline = time.monotonic() + PATIENCE
    while not (result := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {PATIENCE} s in vain for {what}")
        await asyncio.sleep(0.01)
    return result


class Served:
    """An application served in this process, and a client session to talk to it.

    Paths given to ``session`` are relative to the server.
    """

    def __init__(self, server: Server, session: aiohttp.ClientSession, port: int) -> None:
        self.server = server
        self.session = session
        self.port = port


@contextlib.asynccontextmanager
async def serve(app: Any, **settings: Any) -> AsyncIterator[Served]:
    """Serve a Flask application, a WSGI callable or an aiohttp application on port 0."""
    if not isinstance(app, aiohttp.web.Application):
        initialized = getattr(app, "aiohttp_app", None)
        app = AioHTTP().create_aiohttp_app(app) if initialized is None else initialized
    # The machine may be busy: that a loop stands still is told where a test asks for it.
    defaults = {"graceful_timeout": 5.0, "linger": 0.0, "slow_loop": 0.0}
    server = Server(app, ServerSettings(**{**defaults, **settings}))
    await server.start()
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as sock:
        port = sock.getsockname()[1]
        await server.listen(sock)
        connector = aiohttp.TCPConnector(limit=0)
        base = f"http://127.0.0.1:{port}"
        async with aiohttp.ClientSession(base, connector=connector) as session:
            try:
                yield Served(server, session, port)
            finally:
                await server.stop(settings.get("graceful_timeout", 5.0))


class Gunicorn:
    """A gunicorn with this project's worker, in a process of its own.

    Args:
        application: For example ``"demo:app"``; modules of ``tests/apps`` can be imported.
        options: More of gunicorn's command line.
        directory: For the log.
        worker: The worker class.
        bind: Where to listen; by default on a free port.
        env: More environment variables.
    """

    def __init__(
        self,
        application: str,
        *options: str,
        directory: Path,
        worker: str = "flask_aiohttp_worker.Worker",
        bind: str = "127.0.0.1:0",
        env: dict[str, str] | None = None,
    ) -> None:
        self.log_path = directory / f"gunicorn-{time.monotonic_ns()}.log"
        command = [
            # The script, as "python -m gunicorn" cannot start a new master (USR2).
            *(str(Path(sys.executable).with_name("gunicorn")), application, "--no-control-socket"),
            *("--worker-class", worker, "--bind", bind, "--pythonpath", str(APPS)),
            *options,
        ]
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(
                command, stdout=log, stderr=log, env={**os.environ, **(env or {})}
            )
        self.port = 0

        # The master that took over after SIGUSR2.
        self.successor: int | None = None

    @property
    def log(self) -> str:
        """All that gunicorn and the application have written so far."""
        return self.log_path.read_text(errors="replace")

    def wait_until_listening(self) -> None:
        """Wait until connections are accepted, or the process has ended."""

        def listening() -> Any:
            return "Listening at: " in self.log or self.process.poll() is not None

        wait_for(listening, "gunicorn to listen")
        if match := re.search(r"Listening at: \w+://[^:\s]+:(\d+)", self.log):
            self.port = int(match.group(1))

    def wait_for_log(self, text: str, times: int = 1) -> None:
        """Wait until *text* stands in the log, *times* times."""
        wait_for(lambda: self.log.count(text) >= times, f"{text!r} in the log:\n{self.log}")

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def workers(self) -> list[int]:
        """The process ids of the workers that live."""
        master = self.successor or self.process.pid
        children = Path(f"/proc/{master}/task/{master}/children")
        return [int(pid) for pid in children.read_text().split()]

    def title(self, pid: int) -> str:
        """Return what a process calls itself; nothing, if there is none."""
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
            return command.replace(b"\0", b" ").strip().decode()
        return ""

    def wait_for_workers(self, number: int = 1) -> list[int]:
        """Wait until *number* workers serve, and return their process ids."""
        self.wait_until_listening()

        def serving() -> list[int]:
            pids = [pid for pid in self.workers if " websockets" in self.title(pid)]
            return pids if len(pids) == number else []

        return wait_for(serving, f"{number} workers that serve:\n{self.log}")

    def request(
        self,
        path: str,
        method: str = "GET",
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> tuple[int, dict[str, str], str]:
        """Send one request on a connection of its own; return status, headers and text."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request(method, path, body=body, headers=headers or {})
            response = connection.getresponse()
            text = response.read().decode()
            return response.status, {k.lower(): v for k, v in response.getheaders()}, text
        finally:
            connection.close()

    def request_in_thread(self, path: str) -> Future[tuple[int, dict[str, str], str]]:
        """Send one request that will take long; return what :meth:`request` returns, later."""
        pool = ThreadPoolExecutor(1)
        future = pool.submit(self.request, path)
        pool.shutdown(wait=False)
        return future

    def talk(
        self, *pieces: bytes, tls: ssl.SSLContext | None = None, path: str | None = None
    ) -> bytes:
        """Send bytes on a connection of their own, close our side, and return what comes back.

        Args:
            path: Of a Unix socket.
        """
        with contextlib.ExitStack() as stack:
            sock = socket.socket(socket.AF_INET if path is None else socket.AF_UNIX)
            sock.settimeout(PATIENCE)
            sock.connect(path or ("127.0.0.1", self.port))
            if path is None:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if tls is not None:
                sock = tls.wrap_socket(sock, server_hostname="127.0.0.1")
            stack.enter_context(sock)
            # Who has been refused may be cut off while he is still sending.
            with contextlib.suppress(ConnectionError):
                for piece in pieces:
                    sock.sendall(piece)
                if tls is None:
                    sock.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: sock.recv(65536), b""))

    def get(self, path: str) -> str:
        """Return the text that *path* answers with 200."""
        status, _, text = self.request(path)
        assert status == 200, f"{status}: {text}\n{self.log}"
        return text

    def signal(self, number: int) -> None:
        """Send a signal to the master."""
        self.process.send_signal(number)

    def wait(self) -> int:
        """Wait for the master's end and return its exit code."""
        return self.process.wait(PATIENCE)

    def stop(self, number: int = SIGTERM) -> int:
        """Stop the master and return its exit code."""
        self.signal(number)
        return self.wait()

    def kill(self) -> None:
        """End it whatever it does, workers included."""
        if self.process.poll() is None or self.successor:
            workers = self.workers
            self.process.kill()
            self.process.wait()
            for pid in (*filter(None, [self.successor]), *workers):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, SIGKILL)


async def connect(served: Served, head: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Open a connection of its own to a server in this process, and send *head* on it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(head)
    await writer.drain()
    return reader, writer


def get(path: str) -> bytes:
    """Return the head of a GET request."""
    return f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
