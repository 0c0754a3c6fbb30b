"""A request and its answer in the shape of gunicorn's own, for its hooks and its loggers.

What they read is what ``gunicorn.http.message.Request`` and ``gunicorn.http.wsgi.Response`` have.
What a ``pre_request`` changes of the request's line and headers reaches the application, as it does
under gunicorn's own workers, where the environ is made after that.
"""

from __future__ import annotations

from typing import Any

from aiohttp import web
from gunicorn.util import split_request_uri, unquote_to_wsgi_str

from flask_aiohttp._environ import Environ
from flask_aiohttp._exchange import NO_STATUS, Exchange
from flask_aiohttp._protocol import Protocol
from flask_aiohttp._start_response import Framing, Phase

__all__ = ("Headers", "Request", "Response", "headers_of", "variable")

Headers = list[tuple[str, str]]


class Request:
    """As ``gunicorn.http.message.Request``.

    Args:
        request: As aiohttp has it.
        exchange: The same, as WSGI sees it.
    """

    def __init__(self, request: web.BaseRequest, exchange: Exchange) -> None:
        environ = exchange.environ
        parts = split_request_uri(environ["RAW_URI"])
        self._exchange = exchange
        self.method: str = environ["REQUEST_METHOD"]
        self.uri: str = environ["RAW_URI"]
        self.path: str = parts.path or ""
        self.query: str = parts.query or ""
        self.fragment: str = parts.fragment or ""
        self.version = tuple(exchange.version)
        self.headers = headers_of(request)
        self.trailers: Headers = []
        # Not there, where a request has failed before its body was looked at.
        self.body = environ.get("wsgi.input")
        self.scheme: str = environ["wsgi.url_scheme"]
        self.peer_addr = self.remote_addr = request.protocol.peername or ""
        self.proxy_protocol_info = _proxy_protocol_info(environ)

        self._path = self.path
        self._headers = self.headers.copy()

    def should_close(self) -> bool:
        """True if the connection ends after the answer."""
        return not self._exchange.reusable

    def force_close(self) -> None:
        """End the connection after the answer."""
        self._exchange.reusable = False

    def apply_changes(self) -> None:
        """Let the application see what a hook has changed."""
        environ = self._exchange.environ
        environ["REQUEST_METHOD"] = self.method
        environ["RAW_URI"] = environ["REQUEST_URI"] = self.uri
        environ["QUERY_STRING"] = self.query
        environ["wsgi.url_scheme"] = self.scheme
        if self.path != self._path:
            path = unquote_to_wsgi_str(self.path)
            environ["PATH_INFO"] = path.removeprefix(environ["SCRIPT_NAME"])
        if self.headers != self._headers:
            for name, _ in self._headers:
                environ.pop(variable(name), None)
            for name, value in self.headers:
                key = variable(name)
                environ[key] = f"{environ[key]},{value}" if key in environ else value


class Response:
    """As ``gunicorn.http.wsgi.Response``: how far the answer has got.

    Args:
        exchange: The request and its answer.
        in_log: True for the access log, where each request has a status.
    """

    def __init__(self, exchange: Exchange, *, in_log: bool = False) -> None:
        self._exchange = exchange
        self._in_log = in_log

    @property
    def status(self) -> str | None:
        """For example ``"200 OK"``; None until the application has said."""
        status = self._exchange.status
        return None if status == NO_STATUS and not self._in_log else status

    @property
    def status_code(self) -> int | None:
        """For example 200."""
        status = self.status
        return None if status is None else int(status[:3])

    @property
    def headers(self) -> Headers:
        """The application's headers, without those that are the server's."""
        head = self._exchange.pending.head
        return head.headers if head else []

    @property
    def sent(self) -> int:
        """Bytes of the body that were sent."""
        return self._exchange.sent

    @property
    def headers_sent(self) -> bool:
        """True once the head has been sent."""
        return self._exchange.phase in (Phase.STREAMING, Phase.FINISHED)

    @property
    def response_length(self) -> int | None:
        """The Content-Length that the application gave."""
        head = self._exchange.pending.head
        return head.content_length if head else None

    @property
    def chunked(self) -> bool:
        """True if the body goes out in chunks."""
        return self._exchange.framing is Framing.CHUNKED

    def should_close(self) -> bool:
        """True if the connection ends after the answer."""
        return not (self._exchange.keep_alive if self.headers_sent else self._exchange.reusable)

    def force_close(self) -> None:
        """End the connection after the answer, unless that has begun."""
        self._exchange.reusable = False


def headers_of(request: web.BaseRequest) -> Headers:
    """Return the headers as gunicorn keeps them: names in capitals, each line by itself.

    Those that the application does not see (``header_map``) are not among them.
    """
    protocol = request.protocol
    reading = protocol.reading if isinstance(protocol, Protocol) else None
    return [
        (name.decode("latin-1").upper(), value.decode("latin-1"))
        for name, value in request.raw_headers
        if (reading.names[name] if reading else b"_" not in name)
    ]


def variable(name: str) -> str:
    """Return the environ's name for a header."""
    name = name.upper().replace("-", "_")
    return name if name in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{name}"


def _proxy_protocol_info(environ: Environ) -> dict[str, Any] | None:
    if "PROXY_PROTOCOL" not in environ:
        return None
    # Of a proxy's own connections (LOCAL), and of what it does not know, there are no addresses.
    known = "PROXY_ADDR" in environ
    return {
        "proxy_protocol": environ["PROXY_PROTOCOL"],
        "client_addr": environ["REMOTE_ADDR"] if known else None,
        "client_port": int(environ["REMOTE_PORT"]) if known else None,
        "proxy_addr": environ["PROXY_ADDR"] if known else None,
        "proxy_port": int(environ["PROXY_PORT"]) if known else None,
    }
