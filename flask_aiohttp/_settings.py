"""What a server is told before it starts: one frozen object, however it is run.

The gunicorn worker and ``aio.run()`` both build a :class:`ServerSettings`; from there on there is
one path. Each setting that belongs to the application can be given in its Flask configuration.
"""

from __future__ import annotations

import dataclasses
import logging
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TextIO

from ._exchange import Exchange
from .exceptions import InvalidSetting

__all__ = ("AccessLog", "NoAccessLog", "ServerSettings", "with_config")


class AccessLog(Protocol):
    """Where finished requests are written down."""

    def write(self, exchange: Exchange, seconds: float) -> None:
        """Write one line.

        Args:
            exchange: The request and its answer.
            seconds: From the request's arrival to the answer's end.
        """


class NoAccessLog:
    """Writes nothing."""

    def write(self, exchange: Exchange, seconds: float) -> None:
        pass


@dataclass(frozen=True)
class ServerSettings:
    """How one application is served."""

    # Threads for sync views. Ten fits SQLAlchemy's default pool (5, and 10 in overflow).
    threads: int = 10

    # Seconds after which an idle connection is closed; 0 closes each after one answer.
    keepalive: float = 75.0

    # Bytes of the longest request line and header line, and the number of header lines.
    max_line_size: int = 8190
    max_field_size: int = 8190
    max_headers: int = 100

    # Seconds that requests in flight, tasks and websockets have to end at a stop.
    graceful_timeout: float = 30.0

    # Seconds between pings on a websocket; a peer that does not answer is dropped.
    websocket_heartbeat: float = 25.0

    # Bytes of the largest websocket message that is accepted; 0 is no limit.
    websocket_max_message_size: int = 16 * 1024 * 1024

    # Origins besides its own from which a browser may open a websocket; "*" is every one.
    websocket_origins: tuple[str, ...] = ()

    # Where the application is mounted: SCRIPT_NAME of each request.
    script_name: str = ""

    # True if other processes serve the same application: ``wsgi.multiprocess``.
    multiprocess: bool = False

    # The Server field of each answer, and the environ's SERVER_SOFTWARE.
    server: str = "flask-aiohttp-worker"
    software: str = "flask-aiohttp-worker"

    # ``wsgi.errors`` of each request.
    errors: TextIO = dataclasses.field(default_factory=lambda: sys.stderr)

    access_log: AccessLog = dataclasses.field(default_factory=NoAccessLog)
    logger: logging.Logger = dataclasses.field(
        default_factory=lambda: logging.getLogger("flask_aiohttp.error")
    )


def with_config(settings: ServerSettings, config: Mapping[str, Any]) -> ServerSettings:
    """Return *settings* with what a Flask configuration says about them.

    Raises:
        InvalidSetting: A value cannot be used.
    """
    changes: dict[str, Any] = {}
    if "AIOHTTP_THREADS" in config:
        changes["threads"] = _whole_number("AIOHTTP_THREADS", config, at_least=1)
    if "AIOHTTP_WEBSOCKET_ORIGINS" in config:
        changes["websocket_origins"] = _origins(config["AIOHTTP_WEBSOCKET_ORIGINS"])
    return dataclasses.replace(settings, **changes)


def _whole_number(name: str, config: Mapping[str, Any], *, at_least: int) -> int:
    value = config[name]
    try:
        number = int(value)
    except (TypeError, ValueError):
        number = at_least - 1
    if number < at_least or isinstance(value, bool):
        raise InvalidSetting(name, value, f"a whole number, at least {at_least}")
    return number


def _origins(value: object) -> tuple[str, ...]:
    origins = (value,) if isinstance(value, str) else value
    if not isinstance(origins, (list, tuple, set, frozenset)) or not all(
        isinstance(origin, str) and (origin == "*" or "://" in origin) for origin in origins
    ):
        raise InvalidSetting(
            "AIOHTTP_WEBSOCKET_ORIGINS", value, "origins like 'https://example.org', or '*'"
        )
    return tuple(origin.lower().rstrip("/") for origin in origins)
