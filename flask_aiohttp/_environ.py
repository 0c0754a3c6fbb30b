"""From the facts of a request to its WSGI environ (PEP 3333), as gunicorn builds it.

Rule 1: nothing here does I/O or knows a server; bytes and strings come in, a dict goes out.
Rule 2: text is latin-1, one character a byte ("bytes-as-unicode", PEP 3333).
Rule 3: what a client sends cannot pass for what the server says: a header never lands in a
        variable that is not its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias
from urllib.parse import unquote_to_bytes

from .exceptions import InvalidApplication

__all__ = ("Environ", "build_environ", "is_websocket_upgrade", "mount", "split_target")

Environ: TypeAlias = dict[str, Any]

# Names of request headers as the environ spells them, for those seen before. Clients choose the
# names, so the table is bounded.
_variables: dict[bytes, str | None] = {
    b"Content-Type": "CONTENT_TYPE",
    b"Content-Length": "CONTENT_LENGTH",
}
_MAX_VARIABLES = 1024


def _variable(name: bytes) -> str | None:
    """Return the environ's name for the header *name*, or None for a header to be dropped."""
    upper = name.upper()
    if b"_" in name or upper == b"PROXY":
        # "X_Forwarded_For" would land in the variable of "X-Forwarded-For" (gunicorn's
        # header_map=drop), and HTTP_PROXY is taken for a setting (https://httpoxy.org).
        variable = None
    elif upper in (b"CONTENT-TYPE", b"CONTENT-LENGTH"):
        variable = upper.decode("latin-1").replace("-", "_")
    else:
        variable = "HTTP_" + upper.decode("latin-1").replace("-", "_")
    if len(_variables) < _MAX_VARIABLES:
        _variables[name] = variable
    return variable


def build_environ(
    base: Mapping[str, Any],
    *,
    method: str,
    target: str,
    version: tuple[int, int],
    headers: Iterable[tuple[bytes, bytes]],
    peer: object,
    server: object,
) -> Environ:
    """Return a new environ for one request.

    Args:
        base: What is the same for every request of this server, ``wsgi.url_scheme`` included.
        target: The request target as it was sent, in latin-1 (RFC 9112, section 3.2).
        headers: Name and value of each header line, as they were sent.
        peer: The client's address as ``socket.getpeername()`` gives it; for a Unix socket
            ``""`` or None.
        server: The server's own address as ``socket.getsockname()`` gives it.
    """
    environ = dict(base)
    path, query = split_target(target)

    environ["REQUEST_METHOD"] = method
    environ["SERVER_PROTOCOL"] = (
        "HTTP/1.1" if version == (1, 1) else f"HTTP/{version[0]}.{version[1]}"
    )
    environ["RAW_URI"] = environ["REQUEST_URI"] = target
    environ["QUERY_STRING"] = query
    environ["SCRIPT_NAME"] = ""
    if "%" in path:
        path = unquote_to_bytes(path.encode("latin-1")).decode("latin-1")
    environ["PATH_INFO"] = path

    for name, value in headers:
        try:
            variable = _variables[name]
        except KeyError:
            variable = _variable(name)
        if variable is None:
            continue
        text = value.decode("latin-1")
        if variable in environ:
            # RFC 9110, section 5.3: repeated lines are one list, joined by commas.
            text = f"{environ[variable]},{text}"
        environ[variable] = text

    if isinstance(peer, tuple):
        environ["REMOTE_ADDR"] = peer[0]
        environ["REMOTE_PORT"] = str(peer[1])
    else:
        environ["REMOTE_ADDR"] = ""
    if isinstance(server, tuple):
        environ["SERVER_NAME"] = server[0]
        environ["SERVER_PORT"] = str(server[1])
    else:
        environ["SERVER_NAME"], environ["SERVER_PORT"] = _server_from_host(environ)
    return environ


def mount(environ: Environ, script_name: str) -> None:
    """Say that the application is mounted at *script_name*, for example ``"/shop"``.

    Raises:
        InvalidApplication: The request's path is not below it.
    """
    script_name = script_name.rstrip("/")
    if not script_name:
        return
    path = environ["PATH_INFO"]
    below = path[len(script_name) :]
    if not path.startswith(script_name) or below[:1] not in ("", "/"):
        raise InvalidApplication(
            f"the request's path {path!r} is not below SCRIPT_NAME {script_name!r}: "
            "correct the variable, or the proxy's mapping of paths"
        )
    environ["SCRIPT_NAME"] = script_name
    environ["PATH_INFO"] = below


def _server_from_host(environ: Environ) -> tuple[str, str]:
    """Name the server behind a Unix socket, which has no port, after the Host header."""
    host = environ.get("HTTP_HOST", "")
    if host.startswith("["):  # an IPv6 address
        address, bracket, port = host.partition("]")
        name, port = address + bracket, port.removeprefix(":")
    else:
        name, _, port = host.partition(":")
    # PEP 3333: SERVER_NAME and SERVER_PORT "can never be empty strings".
    default_port = "443" if environ["wsgi.url_scheme"] == "https" else "80"
    return name or "localhost", port or default_port


def split_target(target: str) -> tuple[str, str]:
    """Return path and query of a request target, both still percent-encoded.

    Of the absolute form (``http://host/path?query``, RFC 9112, section 3.2.2) the host does not
    count, and an empty path is ``"/"``.
    """
    target, _, _fragment = target.partition("#")
    path, _, query = target.partition("?")
    if not path.startswith("/"):
        _, separator, rest = path.partition("://")
        if separator:
            path = "/" + rest.partition("/")[2]
    return path, query


def is_websocket_upgrade(environ: Environ) -> bool:
    """Return True if the request asks for a websocket (RFC 6455, section 4.1)."""
    upgrade = environ.get("HTTP_UPGRADE")
    if upgrade is None or upgrade.strip().lower() != "websocket":
        return False
    options = environ.get("HTTP_CONNECTION", "").lower().split(",")
    return "upgrade" in [option.strip() for option in options]
