"""From the facts of a request to its WSGI environ (PEP 3333), as gunicorn builds it.

Rule 1: nothing here does I/O or knows a server; bytes and strings come in, a dict goes out.
Rule 2: text is latin-1, one character a byte ("bytes-as-unicode", PEP 3333).
Rule 3: what a client sends cannot pass for what the server says: a header never lands in a
        variable that is not its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias
from urllib.parse import unquote_to_bytes

from ._policy import Names, RequestRefused, scheme_of

__all__ = (
    "Environ",
    "Reading",
    "build_environ",
    "connection_environ",
    "is_reusable",
    "is_websocket_upgrade",
    "mount",
    "split_target",
)

Environ: TypeAlias = dict[str, Any]


class Reading:
    """How the requests of one connection are read.

    Args:
        environ: The part of the environ that is the same for each of them.
        names: What their headers are called.
    """

    __slots__ = ("environ", "names")

    def __init__(self, environ: Environ, names: Names) -> None:
        self.environ = environ
        self.names = names


def connection_environ(base: Mapping[str, Any], peer: object, server: object) -> Environ:
    """Return what is the same for every request of one connection.

    Args:
        base: What is the same for every request of this server, ``wsgi.url_scheme`` and
            ``SCRIPT_NAME`` included.
        peer: The client's address as ``socket.getpeername()`` gives it; for a Unix socket
            ``""`` or None.
        server: The server's own address as ``socket.getsockname()`` gives it.
    """
    environ = dict(base)
    if isinstance(peer, tuple):
        environ["REMOTE_ADDR"] = peer[0]
        environ["REMOTE_PORT"] = str(peer[1])
    else:
        environ["REMOTE_ADDR"] = ""
    if isinstance(server, tuple):
        environ["SERVER_NAME"] = server[0]
        environ["SERVER_PORT"] = str(server[1])
    return environ


def build_environ(
    reading: Reading,
    *,
    method: str,
    target: str,
    version: tuple[int, int],
    headers: Sequence[tuple[bytes, bytes]],
) -> Environ:
    """Return a new environ for one request.

    Args:
        reading: What is known of its connection.
        target: The request target as it was sent, in latin-1 (RFC 9112, section 3.2).
        headers: Name and value of each header line, as they were sent.

    Raises:
        RequestRefused: A header is too large, or cannot be told from another one.
    """
    environ, names = reading.environ.copy(), reading.names
    path, query = split_target(target)

    environ["REQUEST_METHOD"] = method
    environ["SERVER_PROTOCOL"] = (
        "HTTP/1.1" if version == (1, 1) else f"HTTP/{version[0]}.{version[1]}"
    )
    environ["RAW_URI"] = environ["REQUEST_URI"] = target
    environ["QUERY_STRING"] = query
    if "%" in path:
        path = unquote_to_bytes(path.encode("latin-1")).decode("latin-1")
    environ["PATH_INFO"] = path

    known, large = names.known, names.large
    for name, value in headers:
        try:
            variable = known[name]
        except KeyError:
            variable = names.learn(name, value)
        if len(value) > large:
            names.check_size(name, value)
        if variable is None:
            continue
        text = value.decode("latin-1")
        if variable in environ:
            # RFC 9110, section 5.3: repeated lines are one list, joined by commas.
            text = f"{environ[variable]},{text}"
        environ[variable] = text

    for variable in names.schemes:
        if variable in environ:
            environ["wsgi.url_scheme"] = scheme_of(names, headers)
            break
    if names.may_mount and "HTTP_SCRIPT_NAME" in environ:
        environ["SCRIPT_NAME"] = _mount_point(headers, environ["SCRIPT_NAME"])
    if "SERVER_NAME" not in environ:
        environ["SERVER_NAME"], environ["SERVER_PORT"] = _server_from_host(environ)
    return environ


def mount(environ: Environ) -> None:
    """Take SCRIPT_NAME, for example ``"/shop"``, off the path.

    Raises:
        RequestRefused: The path is not below it.
    """
    script_name = environ["SCRIPT_NAME"] = environ["SCRIPT_NAME"].rstrip("/")
    if not script_name:
        return
    path = environ["PATH_INFO"]
    below = path[len(script_name) :]
    if not path.startswith(script_name) or below[:1] not in ("", "/"):
        raise RequestRefused(
            "500 Internal Server Error",
            f"the request's path {path!r} is not below SCRIPT_NAME {script_name!r}: "
            "correct the variable, or the proxy's mapping of paths",
        )
    environ["PATH_INFO"] = below


def _mount_point(headers: Sequence[tuple[bytes, bytes]], default: str) -> str:
    """Return SCRIPT_NAME as a trusted proxy sends it, spelled exactly so; without it *default*."""
    sent = [value for name, value in headers if name.upper() == b"SCRIPT_NAME"]
    return sent[-1].decode("latin-1") if sent else default


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


def is_reusable(environ: Environ) -> bool:
    """Return False if the request's connection must not carry another one.

    What follows a chunked body or a refused upgrade must never be taken for a request: whoever
    sent it may mean it as something else (RFC 9112, section 11.2).
    """
    return not ("HTTP_TRANSFER_ENCODING" in environ or "HTTP_UPGRADE" in environ)


def is_websocket_upgrade(environ: Environ) -> bool:
    """Return True if the request asks for a websocket (RFC 6455, section 4.1)."""
    upgrade = environ.get("HTTP_UPGRADE")
    if upgrade is None or upgrade.strip().lower() != "websocket":
        return False
    options = environ.get("HTTP_CONNECTION", "").lower().split(",")
    return "upgrade" in [option.strip() for option in options]
