"""One websocket with both of its ends in this process, for tests.

One end is what serves: this project's connection, handler and websocket. The other is aiohttp's
client. A socket pair joins them, so nothing listens, and what is tested is what is served.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import aiohttp
from aiohttp import web
from aiohttp.client_proto import ResponseHandler
from flask import Flask
from werkzeug.datastructures import EnvironHeaders
from yarl import URL

from ._environ import Environ
from ._protocol import Protocol
from ._settings import ServerSettings, with_config
from .handler import WSGIWebSocketHandler

__all__ = ("PRESERVE_CONTEXT", "Answer", "InProcess")

# Where Flask's client asks for the contexts of a request.
PRESERVE_CONTEXT = "werkzeug.debug.preserve_context"

# What only the two ends can say, and what they say in the handshake.
_OF_THE_CONNECTION = ("wsgi.", "HTTP_CONNECTION", "HTTP_UPGRADE", "HTTP_SEC_WEBSOCKET_")

# aiohttp adds these where they are missing; Flask's client does not.
_NOT_ADDED = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")


@dataclass(frozen=True)
class Answer:
    """What a handshake was answered with."""

    status: str
    headers: list[tuple[str, str]]
    body: bytes


class InProcess:
    """One websocket to an application; used on one loop.

    Args:
        app: The application.
        environ: The request as the client's WSGI environ.
        protocols: Subprotocols to offer.
        compress: Window bits of the compression to offer, 9 to 15, or 0 for none.
        timeout: Seconds that the other end has to answer a close.
    """

    def __init__(
        self,
        app: Flask,
        environ: Environ,
        *,
        protocols: Sequence[str],
        compress: int,
        timeout: float,
    ) -> None:
        # The contexts that Flask's client keeps in its ``with`` block, if it asks for them. They
        # come with the end of a websocket, when the client may be at another request.
        self.contexts: list[Any] = []
        if PRESERVE_CONTEXT in environ:
            environ = {**environ, PRESERVE_CONTEXT: self.contexts.append}

        self.application = _Application(app, environ)
        self._environ = environ
        self._protocols = protocols
        self._compress = compress
        self._timeout = timeout
        self._settings = with_config(ServerSettings(), app.config)
        self._handler = WSGIWebSocketHandler(self.application)
        self._handler.settings = self._settings

        # The request's own task, once it has begun.
        self._serving: asyncio.Task[Any] | None = None

        # What the handshake was answered with, once it was.
        self._answer = Answer("", [], b"")

        # The client's end; None where there was no handshake.
        self.socket: aiohttp.ClientWebSocketResponse[bool] | None = None

        self._session: aiohttp.ClientSession | None = None

    async def connect(self) -> Answer:
        """Ask for the websocket, and return the answer, whatever it is."""
        near, far = socket.socketpair()
        near.setblocking(False)
        far.setblocking(False)
        loop = asyncio.get_running_loop()
        manager = web.Server(self._serve)
        await loop.connect_accepted_socket(
            lambda: Protocol(
                manager,
                loop=loop,
                server=self._settings.server,
                head_timeout=self._settings.head_timeout,
                send_timeout=self._settings.send_timeout,
                logger=self._settings.logger,
                access_log=None,
                auto_decompress=False,
            ),
            far,
        )
        self._session = aiohttp.ClientSession(
            connector=_PairConnector(near),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            skip_auto_headers=_NOT_ADDED,
            middlewares=(self._note_answer,),
        )
        try:
            self.socket = await self._session.ws_connect(
                _url(self._environ),
                headers=_headers(self._environ),
                protocols=self._protocols,
                compress=self._compress,
                max_msg_size=0,
                timeout=aiohttp.ClientWSTimeout(ws_close=self._timeout),
            )
        except _RefusedError as refused:
            return refused.answer
        return self._answer

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        self._serving = asyncio.current_task()
        return await self._handler(request)

    async def _note_answer(
        self,
        request: aiohttp.ClientRequest,
        send: Callable[[aiohttp.ClientRequest], Any],
    ) -> aiohttp.ClientResponse:
        """Keep the answer, and stop at a refusal: aiohttp would follow a redirect."""
        response: aiohttp.ClientResponse = await send(request)
        self._answer = Answer(
            f"{response.status} {response.reason}",
            [(name.decode("latin-1"), v.decode("latin-1")) for name, v in response.raw_headers],
            b"" if response.status == 101 else await response.read(),
        )
        if response.status != 101:
            raise _RefusedError(self._answer)
        return response

    async def close(self) -> bool:
        """Give back all that :meth:`connect` took; return False if the view had to be cancelled."""
        ended = True
        if self._session is not None:
            await self._session.close()
        if self._serving is not None:
            # The connection's task: it ends with the connection, after the view.
            _, late = await asyncio.wait({self._serving}, timeout=self._timeout)
            for task in late:
                ended = False
                task.cancel()
            if late:
                await asyncio.wait(late, timeout=self._timeout)
        await self._handler.stop()
        return ended


class _RefusedError(Exception):
    """There is no websocket, but an answer."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer)
        self.answer = answer


class _Application:
    """The application as the server calls it: its environ is that of the client.

    So a test may say what HTTP does not carry: the client's address, another scheme, a user.

    Args:
        app: Also tells the handler whose routes these are.
        environ: That of the client.
    """

    def __init__(self, app: Flask, environ: Environ) -> None:
        self.app = app
        self._besides = {
            name: value
            for name, value in environ.items()
            if name == "wsgi.url_scheme" or not name.startswith(_OF_THE_CONNECTION)
        }

        # What the application has raised: it belongs to the test, and not into a log.
        self.error: Exception | None = None

    def __call__(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        environ.update(self._besides)
        try:
            return self.app(environ, start_response)
        except Exception as error:
            self.error = error
            start_response("500 Internal Server Error", [])
            return []


class _PairConnector(aiohttp.BaseConnector):
    """Connects once, over a socket that is connected already."""

    def __init__(self, connected: socket.socket) -> None:
        super().__init__(force_close=True)
        self._connected = connected

    # aiohttp's documentation of BaseConnector: to be overridden in subclasses.
    async def _create_connection(self, req: Any, traces: Any, timeout: Any) -> ResponseHandler:
        loop = asyncio.get_running_loop()
        _, protocol = await loop.create_connection(
            lambda: ResponseHandler(loop), sock=self._connected
        )
        return protocol


def _url(environ: Environ) -> URL:
    path = f"{environ.get('SCRIPT_NAME', '')}{environ.get('PATH_INFO', '')}".encode("latin-1")
    target = quote(path, safe="/!$&'()*+,;=:@~") or "/"
    if query := environ.get("QUERY_STRING"):
        target = f"{target}?{query}"
    return URL(f"http://localhost{target}", encoded=True)


def _headers(environ: Environ) -> list[tuple[str, str]]:
    # aiohttp sends UTF-8, where an environ has one character for each byte. The application sees
    # that one's.
    return [
        (name, value.encode("latin-1").decode(errors="replace"))
        for name, value in EnvironHeaders(environ)
    ]
