"""``aio.run()``: serve one application for local work, with reloader and debugger if wanted.

With the reloader the server runs in a thread of a child process while the main thread watches the
files, so no signal handler of the loop may be relied on; the reloader's parent holds the listening
socket, so that no connection is refused while the child is replaced, and turns Ctrl-C into the
SIGTERM that stops the child.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import types
from typing import Any, cast

import click
from aiohttp import web
from flask import Flask

from . import _loops
from ._exchange import Exchange
from ._server import Server
from ._service import SERVICE
from ._settings import ServerSettings

__all__ = ("DevServer", "run")

# The reloader's child finds the number of the listening socket here.
_SOCKET_VARIABLE = "FLASK_AIOHTTP_DEV_SOCKET"

# The exit code with which Werkzeug's reloader asks to be run again.
_FILES_CHANGED = 3

# How many connections may wait to be accepted.
_BACKLOG = 128

# Seconds in which a client that has just connected sends its request.
_LINGER = 0.25

# Seconds that requests have to end after Ctrl-C; a second Ctrl-C does not wait.
_GRACE = 2.0


def run(app: Flask, *, host: str, port: int | None, debug: bool) -> None:
    """Serve *app* until Ctrl-C. See :meth:`flask_aiohttp.AioHTTP.run`."""
    reloader = _load_reloader() if debug else None
    is_child = reloader is not None and os.environ.get("WERKZEUG_RUN_MAIN") == "true"
    logger = _terminal_logger()
    if debug:
        app.debug = True

    sock = _inherited_socket() if is_child else None
    if sock is None:
        sock = _bind(host, _default_port(app) if port is None else port)
        click.echo(f" * Running on {_address(sock)} (press Ctrl-C to stop)")
    if reloader is not None and not is_child:
        sock.set_inheritable(True)
        os.environ[_SOCKET_VARIABLE] = str(sock.fileno())
        sys.exit(_run_children(reloader._get_args_for_reloading()))

    if debug:
        _add_debugger(app, host)
    server = DevServer(cast("Any", app).aiohttp_app, sock, logger)
    if reloader is None:
        server.run()
    else:
        # A terminal sends SIGINT to the parent too, which sends SIGTERM: that is one stop.
        signal.signal(signal.SIGINT, lambda *_: None)
        thread = threading.Thread(target=server.run, name="flask-aiohttp-server", daemon=True)
        try:
            reloader.run_with_reloader(thread.start)
        finally:
            # A changed file or SIGTERM ended the watch: run the hooks before the process goes.
            server.stop()
            thread.join(_GRACE + 3)


class DevServer:
    """One application on one listening socket, in the calling thread.

    Args:
        application: Made by ``create_aiohttp_app()``.
        sock: Bound.
        logger: For requests and errors.
    """

    def __init__(
        self, application: web.Application, sock: socket.socket, logger: logging.Logger
    ) -> None:
        self._application = application
        self._socket = sock
        self._settings = ServerSettings(
            logger=logger,
            access_log=TerminalLog(logger),
            graceful_timeout=_GRACE,
            linger=_LINGER,
            websocket_spread=0.0,
        )

        # Set while run() serves; stop() may be called from another thread.
        self._loop: asyncio.AbstractEventLoop | None = None
        self._server: Server | None = None
        self._stopped = asyncio.Event()

        # True after the first Ctrl-C.
        self._interrupted = False

    def run(self) -> None:
        """Serve until :meth:`stop`, or until Ctrl-C where this is the main thread.

        Ctrl-C once more ends it whatever it does.
        """
        loop = self._loop = _loops.lend_daemons(asyncio.new_event_loop())
        if threading.current_thread() is threading.main_thread():
            # Real handlers: the loop's own do not run while a view blocks it.
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, self._interrupt)
        with contextlib.suppress(KeyboardInterrupt):
            try:
                loop.run_until_complete(self._serve())
            finally:
                _loops.close(loop)

    def stop(self) -> None:
        """Stop serving; the second call does not wait for requests. May come from any thread."""
        loop = self._loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._stop)

    def _interrupt(self, number: int, frame: types.FrameType | None) -> None:
        if self._interrupted:
            if self._loop is not None:
                # The task that is broken off keeps the error, which asyncio would report as lost.
                self._loop.set_exception_handler(lambda *_: None)
            raise KeyboardInterrupt
        self._interrupted = True
        self.stop()

    def _stop(self) -> None:
        if self._stopped.is_set() and self._server is not None:
            self._server.hurry()
        self._stopped.set()

    async def _serve(self) -> None:
        server = self._server = Server(self._application, self._settings)
        stopped = asyncio.create_task(self._stopped.wait(), name="wait for the stop")
        start = asyncio.create_task(server.start(), name="hooks of the start")
        await asyncio.wait({start, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if not start.done():  # stopped while the application starts
            start.cancel()
            await asyncio.wait({start})
            return
        start.result()
        await server.listen(self._socket)
        await stopped
        await server.stop(_GRACE)


class TerminalLog:
    """Writes a line for each request, as ``flask run`` does."""

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger

    def write(self, exchange: Exchange, request: web.BaseRequest, seconds: float) -> None:
        """Write one line."""
        self._write(exchange.environ["REMOTE_ADDR"], request, exchange.status, seconds)

    def write_native(
        self, request: web.BaseRequest, response: web.StreamResponse, seconds: float
    ) -> None:
        """Write one line about a request to a native aiohttp route."""
        status = f"{response.status} {response.reason or ''}"
        self._write(request.remote or "", request, status, seconds)

    def _write(self, address: str, request: web.BaseRequest, status: str, seconds: float) -> None:
        # The target comes from outside: no escape sequence of its may reach the terminal.
        target = request.raw_path.encode("ascii", "backslashreplace").decode()
        target = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in target)
        self._logger.info(
            "%s %s %s %s %.1f ms", address, request.method, target, status, seconds * 1000
        )


def _load_reloader() -> types.ModuleType | None:
    """Return the module of Werkzeug's reloader, or None where this Werkzeug has none.

    It is private: ``werkzeug.serving.run_simple()``, the public way to it, brings its own server.
    Pinned by a test.
    """
    try:
        from werkzeug import _reloader
    except ImportError:
        click.echo(" * This Werkzeug has no reloader: restart by hand after a change")
        return None
    return _reloader


def _run_children(command: list[str]) -> int:
    """Run this program as a child, again after each change of its files; return the exit code.

    Werkzeug's own loop kills the child a quarter of a second after Ctrl-C, and at once after
    SIGTERM, in the middle of the application's hooks.
    """
    environ = {**os.environ, "WERKZEUG_RUN_MAIN": "true"}
    stopped = False
    child: subprocess.Popen[bytes] | None = None

    def stop(*_: object) -> None:
        nonlocal stopped
        stopped = True
        if child is not None:
            child.terminate()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    while True:
        child = subprocess.Popen(command, env=environ, close_fds=False)  # noqa: S603 - ourselves
        if stopped:
            child.terminate()
        code = child.wait()
        if stopped or code != _FILES_CHANGED:
            return 0 if stopped else code


def _add_debugger(app: Flask, host: str) -> None:
    """Put Werkzeug's debugger around *app*, where this Werkzeug has one."""
    try:
        from werkzeug.debug import DebuggedApplication
    except ImportError:
        click.echo(" * This Werkzeug has no debugger: tracebacks go to the terminal only")
        return
    debugger = DebuggedApplication(app, evalex=True)
    debugger.trusted_hosts.append(host)
    cast("Any", app).aiohttp_app[SERVICE].handler.wsgi = debugger


def _terminal_logger() -> logging.Logger:
    logger = logging.getLogger("flask_aiohttp")
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.INFO)
    if not logger.hasHandlers():
        logger.addHandler(logging.StreamHandler())
    return logger


def _default_port(app: Flask) -> int:
    _, _, port = (app.config["SERVER_NAME"] or "").rpartition(":")
    return int(port) if port.isdigit() else 5000


def _bind(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        sock = socket.socket(family, kind, protocol)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
        # The address is printed next: from then on connections wait until they are served.
        sock.listen(_BACKLOG)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            problem = (
                f"port {port} is in use by another program: stop that one, or choose another "
                f"port, as in aio.run(app, port={port + 1})"
            )
        else:
            problem = f"cannot listen on {host} port {port}: {error.strerror or error}"
        click.echo(problem, err=True)
        sys.exit(1)
    return sock


def _inherited_socket() -> socket.socket | None:
    number = os.environ.get(_SOCKET_VARIABLE)
    return socket.socket(fileno=int(number)) if number else None


def _address(sock: socket.socket) -> str:
    host, port = sock.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
