"""The access log, written by gunicorn's own logger in gunicorn's own words."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from gunicorn.glogging import Logger

from flask_aiohttp._exchange import Exchange
from flask_aiohttp._settings import AccessLog, NoAccessLog

__all__ = ("GunicornAccessLog", "access_log")


@dataclass(frozen=True)
class _Response:
    """As much of ``gunicorn.http.wsgi.Response`` as ``Logger.access()`` looks at."""

    status: str
    headers: list[tuple[str, str]]
    sent: int


@dataclass(frozen=True)
class _Request:
    """As much of ``gunicorn.http.message.Request`` as ``Logger.access()`` looks at."""

    headers: list[tuple[str, str]]


class GunicornAccessLog:
    """Hands each finished request to ``Logger.access()``.

    Args:
        log: The worker's logger; a subclass may send statistics instead of lines.
    """

    def __init__(self, log: Any) -> None:
        self._log = log

    def write(self, exchange: Exchange, seconds: float) -> None:
        """Write one line, or whatever the logger makes of it."""
        head = exchange.pending.head
        request_headers = [
            (name[5:].replace("_", "-"), value)
            for name, value in exchange.environ.items()
            if name.startswith("HTTP_")
        ]
        self._log.access(
            _Response(exchange.status, head.headers if head else [], exchange.sent),
            _Request(request_headers),
            exchange.environ,
            timedelta(seconds=seconds),
        )


def access_log(log: Any) -> AccessLog:
    """Return where the worker writes requests; nowhere, if nobody would read them.

    ``access_log_enabled`` alone does not tell: gunicorn's statsd logger counts requests in its own
    ``access()``, with or without lines.
    """
    if log.access_log_enabled or type(log).access is not Logger.access:
        return GunicornAccessLog(log)
    return NoAccessLog()
