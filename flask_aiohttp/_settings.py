"""What a server is told before it starts: one frozen object, however it is run.

The gunicorn worker and ``aio.run()`` both build a :class:`ServerSettings`; from there on there is
one path. Each setting that belongs to the application can be given in its Flask configuration.
"""

from __future__ import annotations

import dataclasses
import logging
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TextIO

from aiohttp import web

from . import _values
from ._exchange import Exchange
from ._policy import Policy
from ._proxy_protocol import ProxyProtocol

__all__ = (
    "AccessLog",
    "NoAccessLog",
    "RequestHooks",
    "ServerSettings",
    "with_config",
)


class AccessLog(Protocol):
    """Where finished requests are written down."""

    def write(self, exchange: Exchange, request: web.BaseRequest, seconds: float) -> None:
        """Write one line.

        Args:
            exchange: The request and its answer.
            request: The same request, as aiohttp has it.
            seconds: From the request's arrival to the answer's end.
        """

    def write_native(
        self, request: web.BaseRequest, response: web.StreamResponse, seconds: float
    ) -> None:
        """Write one line about a request that aiohttp's router gave to somebody else."""


class NoAccessLog:
    """Writes nothing."""

    def write(self, exchange: Exchange, request: web.BaseRequest, seconds: float) -> None:
        pass

    def write_native(
        self, request: web.BaseRequest, response: web.StreamResponse, seconds: float
    ) -> None:
        pass


class RequestHooks(Protocol):
    """What a server does before and after each request, in the request's own place."""

    def run(self, exchange: Exchange, request: web.BaseRequest) -> None:
        """Call ``exchange.run()``."""


@dataclass(frozen=True)
class ServerSettings:
    """How one application is served."""

    # Threads for sync views. Ten fits SQLAlchemy's default pool (5, and 10 in overflow).
    threads: int = 10

    # How many connections may be open at a time; more wait in the kernel's queue.
    connections: int = 1000

    # Seconds after which an idle connection is closed; 0 closes each after one answer.
    keepalive: float = 75.0

    # What requests are served, and whose word counts.
    policy: Policy = dataclasses.field(default_factory=Policy)

    # Whose headers of the PROXY protocol are read; by default nobody's.
    proxy_protocol: ProxyProtocol | None = None

    # Seconds that requests in flight, tasks and websockets have to end at a stop.
    graceful_timeout: float = 30.0

    # Seconds that a connection without a request stays open at a stop: its client may be sending
    # one.
    linger: float = 2.0

    # Seconds within which all websockets are told of a stop; else all would come back at once.
    websocket_spread: float = 2.0

    # Seconds that a client has for a whole request head, that it may let pass between two pieces
    # of a body, and without reading any of its answer.
    head_timeout: float = 10.0
    body_timeout: float = 30.0
    send_timeout: float = 60.0

    # True to cancel a view that has not answered when its client leaves, and the seconds after
    # that.
    cancel_on_disconnect: bool = False
    disconnect_grace: float = 3.0

    # True to let the kernel send files.
    sendfile: bool = True

    # Subprotocols of websockets (RFC 6455, section 1.9).
    websocket_protocols: tuple[str, ...] = ()

    # Seconds between pings on a websocket; a peer that does not answer is dropped. 0 is never.
    websocket_heartbeat: float = 25.0

    # Seconds that receive() waits for a message; 0 is for ever.
    websocket_timeout: float = 0.0

    # Seconds in which a websocket message that has begun must be whole.
    websocket_message_timeout: float = 60.0

    # Bytes of the largest websocket message that is accepted; 0 is no limit.
    websocket_max_message_size: int = 16 * 1024 * 1024

    # True to compress where the client can: some 37 KiB a socket, and a way to send bombs.
    websocket_compress: bool = False

    # Seconds that a client has to answer a close.
    websocket_close_timeout: float = 10.0

    # Origins besides its own from which a browser may open a websocket; "*" is every one.
    websocket_origins: tuple[str, ...] = ()

    # The secret that the processes which share their rooms have in common; None if this one is
    # alone.
    rooms_key: str | None = None

    # Redis that carries the messages of rooms, the prefix of its channels, by default one for each
    # application, and the bytes that a member of a room may be behind.
    rooms_url: str | None = None
    rooms_prefix: str | None = None
    rooms_backlog: int = 1024 * 1024

    # Seconds for which the loop may stand still, and a sync view take, before the log says where; 0
    # says nothing.
    slow_loop: float = 0.5
    slow_request: float = 0.0

    # Where the application is mounted: SCRIPT_NAME of each request.
    script_name: str = ""

    # True if other processes serve the same application: ``wsgi.multiprocess``.
    multiprocess: bool = False

    # The Server field of each answer, and the environ's SERVER_SOFTWARE.
    server: str = "flask-aiohttp-worker"
    software: str = "flask-aiohttp-worker"

    # ``wsgi.errors`` of each request.
    errors: TextIO = dataclasses.field(default_factory=lambda: sys.stderr)

    # Called around each request; None costs nothing.
    hooks: RequestHooks | None = None

    access_log: AccessLog = dataclasses.field(default_factory=NoAccessLog)
    logger: logging.Logger = dataclasses.field(
        default_factory=lambda: logging.getLogger("flask_aiohttp.error")
    )


def with_config(settings: ServerSettings, config: Mapping[str, Any]) -> ServerSettings:
    """Return *settings* with what a Flask configuration says about them.

    Raises:
        InvalidSetting: A value cannot be used.
    """
    changes = {
        field: parse(name, config[name])
        for name, (field, parse) in _CONFIG.items()
        if name in config
    }
    return dataclasses.replace(settings, **changes)


# What a Flask configuration may say: the field that is meant, and how the value is read.
_CONFIG: dict[str, tuple[str, Callable[[str, Any], Any]]] = {
    "AIOHTTP_THREADS": ("threads", _values.count),
    "AIOHTTP_HEAD_TIMEOUT": ("head_timeout", _values.seconds),
    "AIOHTTP_BODY_TIMEOUT": ("body_timeout", _values.seconds),
    "AIOHTTP_SEND_TIMEOUT": ("send_timeout", _values.seconds),
    "AIOHTTP_SLOW_LOOP": ("slow_loop", _values.seconds_or_none),
    "AIOHTTP_SLOW_REQUEST": ("slow_request", _values.seconds_or_none),
    "AIOHTTP_CANCEL_ON_DISCONNECT": ("cancel_on_disconnect", _values.boolean),
    "AIOHTTP_ROOMS_URL": ("rooms_url", _values.redis_url),
    "AIOHTTP_ROOMS_PREFIX": ("rooms_prefix", _values.text),
    "AIOHTTP_ROOMS_BACKLOG": ("rooms_backlog", _values.count),
    "AIOHTTP_WEBSOCKET_PROTOCOLS": ("websocket_protocols", _values.subprotocols),
    "AIOHTTP_WEBSOCKET_HEARTBEAT": ("websocket_heartbeat", _values.seconds_or_none),
    "AIOHTTP_WEBSOCKET_TIMEOUT": ("websocket_timeout", _values.seconds_or_none),
    "AIOHTTP_WEBSOCKET_MESSAGE_TIMEOUT": ("websocket_message_timeout", _values.seconds),
    "AIOHTTP_WEBSOCKET_MAX_MSG_SIZE": ("websocket_max_message_size", _values.size),
    "AIOHTTP_WEBSOCKET_COMPRESS": ("websocket_compress", _values.boolean),
    "AIOHTTP_WEBSOCKET_ORIGINS": ("websocket_origins", _values.origins),
    "AIOHTTP_WEBSOCKET_CLOSE_TIMEOUT": ("websocket_close_timeout", _values.seconds),
}
