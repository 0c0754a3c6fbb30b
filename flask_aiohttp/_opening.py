"""A websocket up to its handshake, which is put off until it is used.

Rule 1: Flask's whole request cycle runs before the handshake: routing, hooks, session, login. A
        view that returns or aborts before it uses the socket answers with plain HTTP.
Rule 2: what the view says about its socket counts, although aiohttp wants to know it earlier.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from aiohttp import WSCloseCode, web
from flask import has_request_context, request
from werkzeug.exceptions import BadRequest

from . import _handshake
from ._disconnected import Disconnected
from ._environ import Environ
from ._frames import FrameGuard
from ._handshake import Headers
from ._protocol import Protocol
from ._threads import ThreadPool
from ._traffic import Traffic
from ._websocket_options import WebSocketOptions
from ._writer import Connection
from .exceptions import AlreadyAccepted

__all__ = ("OpeningWebSocket",)


class OpeningWebSocket(web.WebSocketResponse):
    """An ``aiohttp.web.WebSocketResponse`` that shakes hands when it is told to.

    Args:
        request: The request that asks for it.
        environ: The same request, as WSGI sees it.
        connection: The way to the client.
        options: Those of a view that gives none.
        traffic: Where an open socket is counted.
        server: The Server field of the handshake.
    """

    # A dict that holds ours beside aiohttp's would be twice as large.
    __slots__ = (
        "_accepting",
        "_connection",
        "_environ",
        "_holds_thread",
        "_late",
        "_options",
        "_request",
        "_traffic",
        "pool",
    )

    def __init__(
        self,
        request: web.BaseRequest,
        environ: Environ,
        connection: Connection,
        *,
        options: WebSocketOptions,
        traffic: Traffic,
        server: str,
    ) -> None:
        self._request = request
        self._environ = environ
        self._connection = connection
        self._options = options
        self._traffic = traffic
        self._start_over(options)
        # aiohttp's own Server field tells versions.
        self.headers["Server"] = server

        # The pool of which an open socket holds a thread; None if its view runs on the loop.
        self.pool: ThreadPool | None = None
        self._holds_thread = False

        # Held while hands are shaken: two tasks may use the socket for the first time at once.
        self._accepting: asyncio.Lock | None = None

        # Closes the socket of a client whose message takes too long.
        self._late: asyncio.Task[bool] | None = None

    def _start_over(self, options: WebSocketOptions) -> None:
        # aiohttp takes options when a socket is made. Its own wait for a slow client has no end,
        # hence a limit that is never reached: send() waits instead.
        super().__init__(**options.for_aiohttp, writer_limit=1 << 62)

    def configure(self, changes: Mapping[str, Any]) -> None:
        """Take the options of the view, which is known only now; not after the handshake.

        Args:
            changes: What :func:`parse_options` has returned.
        """
        if not changes or self.prepared:
            return
        self._options = self._options.changed(changes)
        headers = self.headers
        self._start_over(self._options)
        self.headers.extend(headers)

    async def accept(self, protocol: str | None = None, headers: Headers | None = None) -> None:
        """Shake hands now (RFC 6455, section 4.2.2). Called again it does nothing.

        The handshake carries the session's cookie, if the session has changed. What is written to
        the session later reaches no client: there is no answer any more that could carry it.

        Args:
            protocol: The subprotocol to speak, one that the client offers; by default the first
                one it offers that is among the view's.
            headers: More fields of the handshake: a mapping or pairs. What ``after_request``
                functions add is not among them: they run once, when the view has ended.

        Raises:
            werkzeug.exceptions.Forbidden: A browser asks for a page of another origin.
            werkzeug.exceptions.BadRequest: The client's handshake is malformed, or does not offer
                *protocol*.
            werkzeug.exceptions.ServiceUnavailable: The view is no ``async def``, and websockets
                hold all threads that they may.
            InvalidResponse: *headers* cannot be sent.
            AlreadyAccepted: There are arguments, but the handshake is over.
            ClientGone: The client has left meanwhile.
        """
        if not self.prepared:
            if self._accepting is None:
                self._accepting = asyncio.Lock()
            async with self._accepting:
                if not self.prepared:
                    await self._accept(protocol, headers)
                    self._accepting = None
                    return
        if protocol is not None or headers is not None:
            raise AlreadyAccepted

    async def _accept(self, protocol: str | None, headers: Headers | None) -> None:
        own = self._is_own()
        _handshake.check(
            self._request, request.environ if own else self._environ, self._options.origins
        )
        if protocol is not None:
            _handshake.check_protocol(self._environ, protocol)
            self.configure({"protocols": (protocol,)})
        for name, value in _handshake.fields(headers or (), with_session=own):
            self.headers.add(name, value)
        if self.pool is not None:
            _handshake.check_threads(self.pool, self._traffic)
            self._holds_thread = True
            self._traffic.threads_held += 1
        try:
            await self.prepare(self._request)
        except web.HTTPException as error:
            raise BadRequest(error.text) from error
        except ConnectionError as error:
            raise Disconnected("shaking hands for a websocket") from error
        self._traffic.websockets.add(self)
        if (frames := self._frames()) is not None:
            frames.limit(self._options.message_timeout, self._close_late)
        if self._traffic.closing:
            await super().close(code=self._traffic.close_code)

    @property
    def transport(self) -> asyncio.Transport | None:
        """The connection, or None once it is lost."""
        return self._request.transport

    def hang_up(self) -> None:
        """Forget the socket: its request has ended."""
        self._traffic.websockets.discard(self)
        if self._holds_thread:
            self._holds_thread = False
            self._traffic.threads_held -= 1
        if (frames := self._frames()) is not None:
            frames.stop()

    def _frames(self) -> FrameGuard | None:
        """Return what looks at the frames; None under a server of somebody else's."""
        protocol = self._request.protocol
        return protocol.frames if isinstance(protocol, Protocol) else None

    def _close_late(self) -> None:
        close = self.close(code=WSCloseCode.POLICY_VIOLATION, message=b"message timeout")
        self._late = asyncio.get_running_loop().create_task(close, name="close late websocket")

    def _is_own(self) -> bool:
        """Return True in the socket's own view, and in tasks that it has started."""
        return has_request_context() and request.environ.get("wsgi.websocket") is self
