"""Serve an aiohttp application on sockets, and stop without losing a request.

The worker and ``aio.run()`` share this: what runs in development runs in production.
"""

from __future__ import annotations

import asyncio
import functools
import socket
import ssl
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from aiohttp import web

from ._activity import Activity
from ._connections import Connections
from ._drain import Drain
from ._environ import is_reusable
from ._fallback import Fallback
from ._intake import Intake
from ._listener import Listener
from ._native_log import native_log_options
from ._policy import RequestRefused
from ._protocol import Protocol, refuse, watch
from ._proxied import ProxiedProtocol
from ._service import SERVICE
from ._settings import ServerSettings
from ._traffic import Traffic
from ._watch import Watch

__all__ = ("Server",)

Handler: TypeAlias = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

# Seconds that aiohttp waits for each connection when the requests have ended. Zero is none at all
# in our reading, and "for ever" in aiohttp's.
_AIOHTTP_GRACE = 0.1

# Seconds that the hooks of the stop have at least, and those of a hurried one.
_HOOKS_GRACE = 1.0
_HURRIED_HOOKS_GRACE = 0.5

# Seconds in which the rest of a body that nobody wants is read away, so that the client sees the
# answer and no reset (RFC 9112, section 9.6).
_LINGER = 2.0


class Server:
    """One aiohttp application and its sockets, from start to stop.

    Args:
        application: Made by ``create_aiohttp_app()``, or any other.
        settings: How it is served.
    """

    def __init__(self, application: web.Application, settings: ServerSettings) -> None:
        self.settings = settings
        self.service = application.get(SERVICE)
        self.traffic = self.service.handler.traffic if self.service else Traffic()
        self.connections = Connections(settings.connections)
        self._application = application

        # What it is busy with, and who watches that while it serves.
        handler = self.service.handler if self.service else None
        self.activity = Activity(
            asyncio.get_running_loop(), self.traffic, lambda: handler.pool if handler else None
        )
        self._watch: Watch | None = None

        self._drain = Drain(self.traffic, self.connections, settings, self.service)

        # True if there is nothing but a WSGI application to serve: aiohttp's own routing and
        # request class would only cost time.
        self._plain = self.service is not None and _has_nothing_else(application)

        self._runner = self._make_runner()
        self._listeners: list[Listener] = []

    def _make_runner(self) -> web.AppRunner | web.ServerRunner:
        if self._plain and self.service is not None:
            return web.ServerRunner(
                web.Server(self.service.handler.handle_request), shutdown_timeout=_AIOHTTP_GRACE
            )
        return web.AppRunner(self._application, shutdown_timeout=_AIOHTTP_GRACE)

    def _options(self) -> dict[str, Any]:
        # The application may have its say.
        configured = self.service.handler.settings if self.service else self.settings
        return {
            "send_timeout": configured.send_timeout,
            "head_timeout": configured.head_timeout,
            "server": self.settings.server,
            "lost": self.connections.discard,
            "logger": self.settings.logger,
            **native_log_options(self.settings),
            # WSGI applications see a body as it was sent; to inflate it here would also make
            # Content-Length a lie.
            "auto_decompress": False,
            "keepalive_timeout": self.settings.keepalive,
            "lingering_time": _LINGER,
            **self.settings.policy.parser_limits,
        }

    async def start(self) -> None:
        """Run the application's hooks of the start; nothing listens yet.

        Raises:
            Whatever a hook raises.
        """
        if self.service is not None:
            self.service.configure(self.settings)
        if self._plain:
            self._application.freeze()
            await self._application.startup()
        await self._runner.setup()
        self.traffic.closing = False
        if not self._plain and (server := self._runner.server) is not None:
            server.request_handler = self._counted(server.request_handler)
        settings = self.service.handler.settings if self.service else self.settings
        self._watch = Watch(self.activity, settings)
        self._watch.start()

    def _counted(self, handle: Handler) -> Handler:
        """Return *handle*, with native requests looked at as others are, and counted too."""
        intake = Intake(self.settings)

        async def handle_and_count(request: web.BaseRequest) -> web.StreamResponse:
            try:
                environ = intake.environ(request)
            except RequestRefused as refused:
                return refuse(request, refused)
            self.traffic.begin()
            try:
                response = await handle(request)
            finally:
                self.traffic.end()
                watch(request, None)
                if not is_reusable(environ):
                    request.protocol.close()
            return response if is_reusable(environ) else await _end(response, request)

        return handle_and_count

    async def listen(
        self, sock: socket.socket, *, ssl_context: ssl.SSLContext | None = None
    ) -> None:
        """Accept connections on a socket that is bound and listens."""
        manager = self._runner.server
        assert manager is not None
        kind: Callable[..., Protocol] = Protocol
        if self.settings.proxy_protocol is not None:
            kind = functools.partial(ProxiedProtocol, proxy_protocol=self.settings.proxy_protocol)
        connect = functools.partial(
            kind, manager, loop=asyncio.get_running_loop(), **self._options()
        )
        listener = Listener(
            sock,
            connect,
            self.connections,
            ssl_context=ssl_context,
            logger=self.settings.logger,
        )
        self._listeners.append(listener)

    async def stop(self, timeout: float, *, restarting: bool = False) -> None:
        """Stop: accept no more, let requests end, then cancel them, then run the stop's hooks.

        Args:
            timeout: Seconds that requests and tasks have; the hooks come after that.
            restarting: True if somebody else serves on: websockets are told so.
        """
        loop = asyncio.get_running_loop()
        started = loop.time()
        for listener in self._listeners:
            listener.close()
        await self._drain.run(started + timeout, restarting=restarting)
        for listener in self._listeners:
            listener.abandon()
        if self.service is not None:
            self.service.deadline = loop.time()
        await self._run_last_hooks(started + self.settings.graceful_timeout)
        if self._watch is not None:
            self._watch.stop()

    async def _run_last_hooks(self, deadline: float) -> None:
        """Clean up, but not for ever: outside of a stop nothing kills a worker that hangs."""
        remaining = max(_HOOKS_GRACE, deadline - asyncio.get_running_loop().time())
        cleanup = asyncio.create_task(self._clean_up(), name="hooks of the stop")
        hurry = asyncio.create_task(self._drain.haste.wait(), name="wait for haste")
        await asyncio.wait({cleanup, hurry}, timeout=remaining, return_when=asyncio.FIRST_COMPLETED)
        if hurry.done():
            await asyncio.wait({cleanup}, timeout=_HURRIED_HOOKS_GRACE)
        hurry.cancel()
        if not cleanup.done():
            self.settings.logger.error("The hooks of the stop did not end in time; left them")
            cleanup.cancel()
            await asyncio.wait({cleanup}, timeout=_AIOHTTP_GRACE)
        elif not cleanup.cancelled() and cleanup.exception() is not None:
            self.settings.logger.error("The stop failed", exc_info=cleanup.exception())

    async def _clean_up(self) -> None:
        await self._runner.cleanup()
        if self._plain:
            await self._application.shutdown()
            await self._application.cleanup()

    def hurry(self) -> None:
        """Let a :meth:`stop` under way, or the next, wait no longer for requests and tasks."""
        self._drain.haste.set()


async def _end(response: web.StreamResponse, request: web.BaseRequest) -> web.StreamResponse:
    """Send *response* and let its connection end in order, as aiohttp would not."""
    response.force_close()
    await response.prepare(request)
    await response.write_eof()
    if isinstance(request.protocol, Protocol):
        await request.protocol.linger()
    return response


def _has_nothing_else(application: web.Application) -> bool:
    fallback = next(r for r in application.router.resources() if isinstance(r, Fallback))
    return (
        fallback.is_alone() and not application.middlewares and not application.on_response_prepare
    )
