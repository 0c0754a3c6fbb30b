"""The access log, written by gunicorn's own logger in gunicorn's own words."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from aiohttp import web
from gunicorn.glogging import Logger

from flask_aiohttp._environ import Environ
from flask_aiohttp._exchange import Exchange
from flask_aiohttp._settings import AccessLog, NoAccessLog

from ._message import Headers, Request, Response, headers_of, variable
from ._printable import printable

__all__ = ("GunicornAccessLog", "access_log")


@dataclass(frozen=True)
class _NativeRequest:
    """As much of ``gunicorn.http.message.Request`` as ``Logger.access()`` looks at."""

    headers: Headers


@dataclass(frozen=True)
class _NativeResponse:
    """As much of ``gunicorn.http.wsgi.Response`` as ``Logger.access()`` looks at."""

    status: str
    headers: Headers

    # Bytes of the body; None if they were not counted, which is logged as "-".
    sent: int | None


class GunicornAccessLog:
    """Hands each finished request to ``Logger.access()``.

    Args:
        log: The worker's logger; a subclass may send statistics instead of lines.
    """

    def __init__(self, log: Any) -> None:
        self._log = log

    def write(self, exchange: Exchange, request: web.BaseRequest, seconds: float) -> None:
        """Write one line, or whatever the logger makes of it."""
        message = exchange.message or Request(request, exchange)
        self._access(Response(exchange, in_log=True), message, exchange.environ, seconds)

    def write_native(
        self, request: web.BaseRequest, response: web.StreamResponse, seconds: float
    ) -> None:
        """Write one line about a request to a native aiohttp route."""
        message = _NativeRequest(headers_of(request))
        answer = _NativeResponse(
            f"{response.status} {response.reason or ''}",
            list(response.headers.items()),
            0 if request.method == "HEAD" else response.content_length,
        )
        self._access(answer, message, _environ(request, message.headers), seconds)

    def _access(self, response: Any, request: Any, environ: Environ, seconds: float) -> None:
        try:
            self._log.access(response, request, printable(environ), timedelta(seconds=seconds))
        except Exception:  # the logger may be anybody's, and the answer has been sent
            self._log.exception("Error in the access log")


def _environ(request: web.BaseRequest, headers: Headers) -> Environ:
    """Return as much of an environ as ``Logger.access()`` looks at."""
    peer = request.protocol.peername
    return {
        "REQUEST_METHOD": request.method,
        "RAW_URI": request.raw_path,
        "SERVER_PROTOCOL": f"HTTP/{request.version.major}.{request.version.minor}",
        "PATH_INFO": request.path,
        "QUERY_STRING": request.query_string,
        "REMOTE_ADDR": peer[0] if isinstance(peer, tuple) else "",
        "wsgi.url_scheme": request.scheme,
        **{variable(name): value for name, value in headers},
    }


def access_log(log: Any) -> AccessLog:
    """Return where the worker writes requests; nowhere, if nobody would read them.

    ``access_log_enabled`` alone does not tell: gunicorn's statsd logger counts requests in its own
    ``access()``, with or without lines.
    """
    if log.access_log_enabled or type(log).access is not Logger.access:
        return GunicornAccessLog(log)
    return NoAccessLog()
