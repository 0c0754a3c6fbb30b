"""From aiohttp's request to an environ that an application may see, or to its refusal.

What is the same for a whole connection is made once for it: who is there, and whether its word
counts.
"""

from __future__ import annotations

from typing import Any

from aiohttp import web

from ._environ import Environ, Reading, build_environ, connection_environ
from ._file_wrapper import FileWrapper
from ._policy import Names, check
from ._protocol import Protocol
from ._proxied import ProxiedProtocol
from ._settings import ServerSettings

__all__ = ("Intake", "server_options")

# What any resource of an application may allow.
_METHODS = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")


class Intake:
    """Looks at each request before an application does.

    Args:
        settings: Those of the server.
    """

    def __init__(self, settings: ServerSettings) -> None:
        self._policy = settings.policy
        self._names = Names(settings.policy, trusted=False)
        self._names_of_proxies = Names(settings.policy, trusted=True)
        self._http = _base_environ(settings, "http")
        self._https = _base_environ(settings, "https")

    def environ(self, request: web.BaseRequest) -> Environ:
        """Return a new environ.

        Raises:
            RequestRefused: It cannot be served.
        """
        protocol = request.protocol
        if isinstance(protocol, Protocol):
            reading = protocol.reading
            if reading is None:
                reading = protocol.reading = self._read(protocol)
        else:
            reading = self._read(protocol)
        target = request.raw_path
        if not target.isascii():
            target = target.encode("utf-8", "surrogateescape").decode("latin-1")
        environ = build_environ(
            reading,
            method=request.method,
            target=target,
            version=request.version,
            headers=request.raw_headers,
        )
        check(self._policy, environ, request.version)
        if "HTTP_TRANSFER_ENCODING" in environ and isinstance(protocol, Protocol):
            protocol.begin_chunks(request)
        return environ

    def _read(self, protocol: web.RequestHandler) -> Reading:
        peer, server = protocol.peername, protocol.sockname
        base = self._http if protocol.ssl_context is None else self._https
        environ = connection_environ(base, peer, server)
        if isinstance(protocol, ProxiedProtocol) and protocol.proxy_header is not None:
            environ.update(protocol.proxy_header.environ())
            peer = protocol.sender
        trusted = self._policy.proxies.have(peer, server)
        return Reading(environ, self._names_of_proxies if trusted else self._names)


def server_options(_: Environ, start_response: Any) -> list[bytes]:
    """Answer ``OPTIONS *``, which asks the server and no application (RFC 9110, section 9.3.7)."""
    start_response("200 OK", [("Allow", ", ".join(_METHODS)), ("Content-Length", "0")])
    return []


def _base_environ(settings: ServerSettings, scheme: str) -> Environ:
    """Return the part of the environ that is the same for each request."""
    return {
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scheme,
        "wsgi.errors": settings.errors,
        "wsgi.multithread": True,
        "wsgi.multiprocess": settings.multiprocess,
        "wsgi.run_once": False,
        "wsgi.input_terminated": True,
        "wsgi.file_wrapper": FileWrapper,
        "SERVER_SOFTWARE": settings.software,
        "SCRIPT_NAME": settings.script_name,
    }
