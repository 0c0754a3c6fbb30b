"""What stands in for ``werkzeug.test.run_wsgi_app``, whatever way the request takes."""

from __future__ import annotations

import abc
import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, TypeVar

import werkzeug.test
from answer import Answer
from werkzeug.datastructures import Headers

from flask_aiohttp import AioHTTP, _bridge, _threads
from flask_aiohttp.util import find_flask_apps

__all__ = ("PATIENCE", "Call", "Way", "running_here")

T = TypeVar("T")

_plain_run_wsgi_app = werkzeug.test.run_wsgi_app

# Seconds that one step of one request may take.
PATIENCE = 20.0


class Call(abc.ABC):
    """One request under way.

    Args:
        method: Of the request.
    """

    def __init__(self, method: str) -> None:
        self.answer = Answer(method)

        # What ended the request in place of an answer, until it has been raised.
        self.error: BaseException | None = None

        # True if it did so before it had begun to answer.
        self.refused = False

    @property
    def status(self) -> str:
        """The status as the test gets it."""
        return self.answer.status

    @abc.abstractmethod
    def receive(self) -> list[Any]:
        """Wait for what comes next, and return the pieces of the body that are in it."""

    @abc.abstractmethod
    def leave(self) -> None:
        """Leave as a client would, and wait until the server has ended the request."""

    @property
    @abc.abstractmethod
    def over(self) -> bool:
        """True once nothing more will come."""

    def raise_error(self) -> None:
        """Raise what the application has raised, as a test client does; once."""
        error, self.error = self.error, None
        # What the project makes of sys.exit().
        if isinstance(error, RuntimeError) and isinstance(error.__cause__, SystemExit):
            error = error.__cause__
        if error is not None:
            raise error


class Pieces:
    """The body, asked for piece by piece."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._pieces: list[Any] = []
        self._closed = False

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        while not self._pieces:
            if self._call.over:
                self._call.raise_error()
                raise StopIteration
            self._pieces += self._call.receive()
        return self._pieces.pop(0)

    def begin(self) -> None:
        """Wait for the first piece, or for the end of an answer without one."""
        while not self._pieces and not self._call.over:
            self._pieces += self._call.receive()
        if self._call.refused or not self._call.answer.begun:
            self._call.raise_error()

    def read_ahead(self) -> None:
        """Wait for all of it."""
        while not self._call.over:
            self._pieces += self._call.receive()

    def close(self) -> None:
        """End the request, and raise what its end has raised."""
        if not self._closed:
            self._closed = True
            self._call.leave()
            self._call.raise_error()

    def __del__(self) -> None:
        if not self._closed and not self._call.over:
            self._call.leave()


class Way(abc.ABC):
    """One way of a request through the project; has a loop in a thread of its own."""

    def __init__(self) -> None:
        # Requests that went this way.
        self.requests = 0

        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, name="conformance", daemon=True).start()

    def run_wsgi_app(
        self, app: Callable[..., Any], environ: dict[str, Any], buffered: bool = False
    ) -> tuple[Any, str, Headers]:
        """Do what Werkzeug's function of this name does."""
        if _bridge.current_carrier() or _threads.current_work():
            # An application asks another one, as Flask does to make a response of an exception.
            return _plain_run_wsgi_app(app, environ, buffered)
        environ = environ if isinstance(environ, dict) else environ.environ
        if "REQUEST_METHOD" not in environ:
            return _plain_run_wsgi_app(app, environ, buffered)  # no request at all
        for flask_app in find_flask_apps(app):
            AioHTTP(flask_app)
        call = self.start(app, environ.copy())
        pieces = Pieces(call)
        pieces.begin()
        if "werkzeug.debug.preserve_context" in environ:
            # The test will enter the request's contexts: the application must have left them.
            pieces.read_ahead()
        body: Any = pieces
        if buffered:
            try:
                body = list(pieces)
            finally:
                pieces.close()
        return body, call.status, Headers(call.answer.headers)

    @abc.abstractmethod
    def start(self, app: Callable[..., Any], environ: dict[str, Any]) -> Call:
        """Send the request."""

    def wait(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Wait for work on the loop."""
        in_time = asyncio.wait_for(coroutine, PATIENCE)
        return asyncio.run_coroutine_threadsafe(in_time, self.loop).result()


def running_here(loop: asyncio.AbstractEventLoop) -> bool:
    """Return True if the caller runs on *loop*."""
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False
