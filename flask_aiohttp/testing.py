"""Clients for tests: Flask's own, which opens websockets too, and aiohttp's.

``app.test_client()`` of an initialised application returns a :class:`FlaskAioHTTPClient`::

    with app.test_client() as client, client.websocket("/echo") as ws:
        ws.send_str("hello")
        assert ws.receive_str() == "hello"

``aio.test_client()`` returns aiohttp's, over a :class:`TestServer`.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, cast

from aiohttp import web
from aiohttp.test_utils import BaseTestServer
from aiohttp.typedefs import StrOrURL
from flask.testing import FlaskClient
from werkzeug.datastructures import Headers
from yarl import URL

from ._client_websocket import ClientWebSocket, Handshake
from ._environ import Environ
from ._server import Server
from ._settings import ServerSettings
from ._waiting import hold_up
from .exceptions import WebSocketRejected

if TYPE_CHECKING:
    from werkzeug.test import TestResponse

__all__ = ("ClientWebSocket", "FlaskAioHTTPClient", "TestServer", "client_class")

# Where the environ of a request for a websocket carries what will answer it.
_HANDSHAKE = "flask_aiohttp.handshake"


class FlaskAioHTTPClient(FlaskClient):
    """Flask's test client, which opens websockets, and works in ``async def`` tests."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)

        # The contexts of the last websocket, as Flask keeps those of the last request.
        self._kept = contextlib.ExitStack()

    def websocket(
        self,
        path: str = "/",
        *,
        protocols: Sequence[str] = (),
        compress: int = 0,
        timeout: float = 10.0,
        **kwargs: Any,
    ) -> ClientWebSocket:
        """Open the websocket at *path*; close it at the end of a ``with`` block.

        The client's cookies go along, and those of the answer are kept.

        Args:
            protocols: Subprotocols to offer, the best first.
            compress: Window bits of the compression to offer (RFC 7692), 9 to 15.
            timeout: Seconds that the application has for each answer.
            kwargs: As for ``client.get()``: ``headers``, ``query_string``, ``base_url``, ...

        Raises:
            WebSocketRejected: The application has answered with plain HTTP.
            WebSocketTimeout: It has not answered in time.
            Exception: What the view raises, if the application propagates it
                (``TESTING``, ``PROPAGATE_EXCEPTIONS``), here or where the socket is used.
        """
        handshake = Handshake(self.application, path, protocols, compress, timeout)
        headers = Headers(kwargs.pop("headers", None))
        headers["Upgrade"] = "websocket"
        headers["Connection"] = "Upgrade"
        environ = {**kwargs.pop("environ_overrides", {}), _HANDSHAKE: handshake}
        response = self.get(path, headers=headers, environ_overrides=environ, **kwargs)
        if handshake.link is None or handshake.link.socket is None:
            raise WebSocketRejected(path, response)
        return ClientWebSocket(self._keep, response, handshake.link, path, timeout)

    def open(self, *args: Any, **kwargs: Any) -> TestResponse:
        """Send a request, as Flask's client does."""
        self._kept.close()
        return super().open(*args, **kwargs)

    def run_wsgi_app(
        self, environ: Environ, buffered: bool = False
    ) -> tuple[Iterable[bytes], str, Headers]:
        """Call the application; in an ``async def`` test async views run on another loop.

        The test's own loop stands still until the answer is there.
        """
        handshake = environ.pop(_HANDSHAKE, None)
        if handshake is not None:
            # Below it Werkzeug's client still sees to the cookies.
            return self._run_instead(handshake, environ)
        with hold_up():
            body, status, headers = super().run_wsgi_app(environ, buffered)
        return (body if buffered else _Body(body)), status, headers

    def _run_instead(
        self, application: Any, environ: Environ
    ) -> tuple[Iterable[bytes], str, Headers]:
        own, self.application = self.application, application
        try:
            return super().run_wsgi_app(environ, True)
        finally:
            self.application = own

    def _keep(self, contexts: list[contextlib.AbstractContextManager[Any]]) -> None:
        """Enter the contexts of a websocket that has ended."""
        if self.preserve_context:
            self._kept.close()
            for context in contexts:
                self._kept.enter_context(context)

    def __exit__(
        self,
        exc_type: type | None,
        exc_value: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self._kept.close()
        super().__exit__(exc_type, exc_value, tb)


def client_class(base: type[FlaskClient] | None) -> type[FlaskClient]:
    """Return *base*, an application's own ``test_client_class``, with websockets."""
    if base is None:
        return FlaskAioHTTPClient
    if not isinstance(base, type) or issubclass(base, FlaskAioHTTPClient):
        return base
    names = {"__module__": base.__module__, "__doc__": base.__doc__}
    return cast("type[FlaskClient]", type(base.__name__, (FlaskAioHTTPClient, base), names))


class TestServer(BaseTestServer):
    """Serves an aiohttp application on a free port of this machine, as ``aio.run()`` does.

    ``aiohttp.test_utils.TestClient`` and the ``aiohttp_client`` fixture of pytest-aiohttp take it.

    Args:
        app: Made by ``create_aiohttp_app()``; it can be served once.
        graceful_timeout: Seconds that requests have to end when the server is closed.
    """

    __test__ = False

    def __init__(self, app: web.Application, *, graceful_timeout: float = 5.0) -> None:
        super().__init__(scheme="http")
        self.app = app
        self._grace = graceful_timeout
        self._server: Server | None = None

    async def start_server(
        self, loop: asyncio.AbstractEventLoop | None = None, **kwargs: Any
    ) -> None:
        """Run the hooks of the start, and listen. Idempotent.

        Raises:
            Whatever a hook raises.
        """
        if self._server is not None:
            return
        server = Server(self.app, ServerSettings(graceful_timeout=self._grace, linger=0.0))
        await server.start()
        self._server = server
        sock = socket.create_server((self.host, 0))
        self.port = sock.getsockname()[1]
        await server.listen(sock)

    async def close(self) -> None:
        """Let requests end, and run the hooks of the stop. Idempotent."""
        server, self._server = self._server, None
        if server is not None:
            await server.stop(self._grace)

    def make_url(self, path: StrOrURL) -> URL:
        """Return the address of *path* on this server."""
        return URL(f"http://{self.host}:{self.port}").join(URL(path))

    @property
    def started(self) -> bool:
        """True while it serves."""
        return self._server is not None

    @property
    def closed(self) -> bool:
        """True once it has served."""
        return self.port is not None and self._server is None

    async def _make_runner(self, **kwargs: Any) -> web.BaseRunner:
        raise NotImplementedError("start_server() needs none")


class _Body:
    """The body of an answer, which may wait while it is read."""

    def __init__(self, body: Iterable[bytes]) -> None:
        self._body = body
        self._iterator = iter(body)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        with hold_up():
            return next(self._iterator)

    def close(self) -> None:
        close = getattr(self._body, "close", None)
        if close is not None:
            with hold_up():
                close()
