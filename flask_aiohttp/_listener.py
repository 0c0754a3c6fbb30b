"""Accept connections; in place of ``loop.create_server()``.

Rule 1: who has bound the socket has said how many connections may queue; asyncio would say it
        anew, with a number of its own.
Rule 2: few connections a turn, so that the processes which share a socket share what comes. asyncio
        takes as many as the queue holds.
Rule 3: where there is no room, nothing is accepted: connections wait in the kernel's queue.
Rule 4: whatever accept() meets, there is a next time.
Rule 5: what the kernel has queued when the listener closes is served; closing would reset it.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import socket
import ssl
from collections.abc import Callable
from typing import Any

from ._connections import Connections
from ._protocol import Protocol

__all__ = ("Listener",)

# Connections that are accepted in one turn of the loop. Each turn costs a call of the kernel: one
# is slow, and many are a burst that the neighbours could have had a part of.
_AT_ONCE = 8

# Connections that are taken from a queue before it closes: more than any kernel's default holds.
_QUEUE = 4096

# Seconds until the next try after accept() has failed, for want of file descriptors as a rule.
_PAUSE = 1.0

# Seconds that a client has for its TLS handshake.
_HANDSHAKE_TIMEOUT = 10.0


class Listener:
    """One listening socket, from now until :meth:`close`.

    Args:
        sock: Bound and listening. The listener closes it.
        connect: Makes the protocol of a new connection.
        connections: Where they are counted; may be shared by several listeners.
        ssl_context: For TLS.
        logger: For what accept() meets.
    """

    def __init__(
        self,
        sock: socket.socket,
        connect: Callable[[], Protocol],
        connections: Connections,
        *,
        ssl_context: ssl.SSLContext | None,
        logger: logging.Logger,
    ) -> None:
        self._socket = sock
        self._connect = connect
        self._connections = connections
        self._tls: dict[str, Any] = {}
        if ssl_context is not None:
            self._tls = {"ssl": ssl_context, "ssl_handshake_timeout": _HANDSHAKE_TIMEOUT}
        self._logger = logger
        self._loop = asyncio.get_running_loop()

        # Connections that are being set up, TLS handshakes included.
        self._setups: set[asyncio.Task[Any]] = set()

        # Set while accept() is left alone after a failure, which is logged once.
        self._retry: asyncio.TimerHandle | None = None
        self._failing = False

        sock.setblocking(False)
        self._resume()

    def close(self) -> None:
        """Accept what is queued, then no more. Idempotent."""
        if self._socket.fileno() < 0:
            return
        for _ in range(_QUEUE):
            if not self._accept():
                break
        self._pause()
        self._socket.close()

    def abandon(self) -> None:
        """Give up the TLS handshakes that have not ended."""
        for setup in self._setups:
            setup.cancel()

    def _resume(self) -> None:
        self._retry = None
        if self._socket.fileno() >= 0:
            self._loop.add_reader(self._socket, self._accept_some)

    def _pause(self) -> None:
        self._loop.remove_reader(self._socket)
        if self._retry is not None:
            self._retry.cancel()

    def _accept_some(self) -> None:
        for _ in range(_AT_ONCE):
            if self._connections.full:
                self._pause()
                self._connections.when_there_is_room(self._resume)
                return
            if not self._accept():
                return

    def _accept(self) -> bool:
        """Accept one connection; return False if there is none, or no way to."""
        try:
            sock, peer = self._socket.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return False
        except OSError as error:
            self._failed(error)
            return False
        self._failing = False
        sock.setblocking(False)
        protocol = self._connect()
        self._connections.add(protocol)
        setup = self._loop.create_task(
            self._loop.connect_accepted_socket(lambda: protocol, sock, **self._tls),
            name="set up a connection",
        )
        self._setups.add(setup)
        setup.add_done_callback(functools.partial(self._set_up, sock, protocol, peer))
        return True

    def _set_up(
        self, sock: socket.socket, protocol: Protocol, peer: Any, setup: asyncio.Task[Any]
    ) -> None:
        self._setups.discard(setup)
        if not setup.cancelled():
            error = setup.exception()
            if error is None:
                return
            if isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError):
                # It speaks no TLS that we would: what gunicorn writes.
                address = peer[0] if isinstance(peer, tuple) else ""
                self._logger.warning("Invalid request from ip=%s: %s", address, error)
            else:
                self._logger.debug("A client has left before its connection was set up: %r", error)
        self._connections.discard(protocol)
        sock.close()

    def _failed(self, error: OSError) -> None:
        if not self._failing:
            self._logger.error("Cannot accept connections, trying again each second: %s", error)
        self._failing = True
        self._pause()
        self._retry = self._loop.call_later(_PAUSE, self._resume)
